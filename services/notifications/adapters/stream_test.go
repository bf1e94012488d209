package adapters_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/id"
	"caravan/internal/service/servicetest"
	"caravan/internal/token"
	"caravan/services/notifications/adapters"
	"caravan/services/notifications/app"
	products "caravan/services/products/contract"
	users "caravan/services/users/contract"
)

// streamServer serves streams over a fake store. Each user may have one, and the replica two. The caller is the bearer token, and
// its token expires at expiry.
type streamServer struct {
	*httptest.Server
	streams *app.Streams
	deliver app.DeliverEvent
	expiry  time.Time
}

func newStreamServer(t *testing.T) *streamServer {
	t.Helper()
	ports := app.Ports{Store: documenttest.NewStore(), Clock: clock.System{}, IDs: id.Random{}, Log: slog.New(slog.DiscardHandler)}
	inboxes := app.NewInboxes(ports)
	s := &streamServer{
		streams: app.NewStreams(inboxes, app.NewPreferences(ports), unmetered{}, app.StreamOptions{PerUser: 1, PerReplica: 2, Refresh: time.Hour, Poll: time.Hour, Heartbeat: time.Hour}),
		deliver: app.DeliverEvent{Inboxes: inboxes, Counter: uncounted{}, Staff: oneOfStaff{}},
		expiry:  time.Now().Add(time.Hour),
	}
	routes := &servicetest.Server{Authenticate: func(r *http.Request) (token.Claims, error) {
		claims := token.Claims{Subject: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), Expiry: s.expiry}
		if claims.Subject == staffUser {
			claims.Permissions = users.PermissionsOf([]string{users.RoleStaff})
		}
		return claims, nil
	}}
	adapters.API{
		OpenStream: app.OpenStream{Streams: s.streams},
		Jitter:     func() float64 { return 0.5 }, Log: ports.Log,
	}.Register(routes)
	s.Server = httptest.NewServer(routes)
	t.Cleanup(s.Close)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.streams.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// staffUser is the only one with the permissions of staff.
const staffUser = "staff"

// oneOfStaff is an app.Staff.
type oneOfStaff struct{}

func (oneOfStaff) With(context.Context, string, int) ([]string, error) {
	return []string{staffUser}, nil
}

// unmetered is an app.StreamMeter.
type unmetered struct{}

func (unmetered) Dropped() {}
func (unmetered) LeftOut() {}

// open opens a stream of a user, or gets a refusal.
func (s *streamServer) open(t *testing.T, user, query, lastEventID string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/v1/notifications/stream"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+user)
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// read reads the next event, up to its empty line.
func read(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	var b strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", b.String(), err)
		}
		if line == "\n" {
			return b.String()
		}
		b.WriteString(line)
	}
}

// paid is an event of the wallet of a user.
func paid(user string, sequence int64) event.Event {
	return event.Event{
		ID: event.ID("payments", user, sequence), Type: "payments.deposited.v1", Source: "payments", Subject: user, Sequence: sequence, Time: time.Now(),
		Data: fmt.Appendf(nil, `{"userId":%q,"depositId":"d","amount":{"amount":100,"currency":"EUR"}}`, user),
	}
}

func TestAStreamHasNotificationsAndStatuses(t *testing.T) {
	s := newStreamServer(t)
	if err := s.deliver.Do(t.Context(), paid("u1", 1)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(s.open(t, "u1", "", "").Body)
	if got := read(t, in); got != "retry: 2000\n" {
		t.Errorf("got %q", got)
	}
	if got := read(t, in); got != "id: 1\nevent: open\ndata: {\"position\":1,\"unread\":1}\n" {
		t.Errorf("got %q", got)
	}
	if err := s.deliver.Do(t.Context(), paid("u1", 2)); err != nil {
		t.Fatal(err)
	}
	s.streams.Take(paid("u1", 2))
	if got := read(t, in); !strings.HasPrefix(got, "id: 2\nevent: notification\ndata: {\"id\":") || !strings.Contains(got, `"position":2`) {
		t.Errorf("got %q", got)
	}
	const order = "0199c6a0-0000-7000-8000-000000000002"
	s.streams.Take(event.Event{
		Type: "orders.confirmed.v1", Source: "orders", Subject: order, Sequence: 5, Time: noon,
		Data: fmt.Appendf(nil, `{"orderId":%q,"userId":"u1","status":"confirmed"}`, order),
	})
	want := "event: order\ndata: {\"orderId\":\"" + order + "\",\"status\":\"confirmed\",\"sequence\":5,\"occurredAt\":\"2026-03-01T12:00:00Z\"}\n"
	if got := read(t, in); got != want {
		t.Errorf("got %q", got)
	}
}

// TestLowStockWakesTheStreamsOfStaff covers an event that names nobody. The next regular read of the inbox is an hour away.
func TestLowStockWakesTheStreamsOfStaff(t *testing.T) {
	s := newStreamServer(t)
	customer, staff := bufio.NewReader(s.open(t, "u1", "", "").Body), bufio.NewReader(s.open(t, staffUser, "", "").Body)
	for _, in := range []*bufio.Reader{customer, staff} {
		read(t, in)
		read(t, in)
	}
	low := event.Event{
		ID: event.ID("products", "stock/TEA", 1), Type: products.EventStockLow, Source: products.App, Subject: "stock/TEA", Sequence: 1, Time: noon,
		Data: []byte(`{"sku":"TEA","available":3,"threshold":5}`),
	}
	s.streams.Take(low)
	for _, e := range []event.Event{low, paid("u1", 1)} {
		if err := s.deliver.Do(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, staff); !strings.HasPrefix(got, "id: 1\nevent: notification\n") || !strings.Contains(got, "TEA") {
		t.Errorf("staff got %q", got)
	}
	s.streams.Take(paid("u1", 1))
	if got := read(t, customer); !strings.HasPrefix(got, "id: 1\nevent: notification\n") || strings.Contains(got, "TEA") {
		t.Errorf("the customer got %q", got)
	}
}

func TestAStreamBeginsWhereItsClientWas(t *testing.T) {
	s := newStreamServer(t)
	for sequence := range int64(3) {
		if err := s.deliver.Do(t.Context(), paid("u1", sequence+1)); err != nil {
			t.Fatal(err)
		}
	}
	for user, from := range map[string][2]string{"header": {"", "2"}, "parameter": {"?lastEventId=2", ""}, "both": {"?lastEventId=0", "2"}} {
		response := s.open(t, "u1", from[0], from[1])
		in := bufio.NewReader(response.Body)
		read(t, in)
		if open, next := read(t, in), read(t, in); !strings.HasPrefix(open, "id: 2\nevent: open\n") || !strings.HasPrefix(next, "id: 3\nevent: notification\n") {
			t.Errorf("%s: got %q, %q", user, open, next)
		}
		_ = response.Body.Close()
		s.none(t)
	}
	for _, from := range [][2]string{{"?lastEventId=-1", ""}, {"?lastEventId=", ""}, {"", "x"}, {"", "99999999999"}} {
		if response := s.open(t, "u1", from[0], from[1]); response.StatusCode != http.StatusBadRequest {
			t.Errorf("%q is answered with %d", from, response.StatusCode)
		}
	}
}

// none waits until no stream is open.
func (s *streamServer) none(t *testing.T) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); s.streams.Count() > 0; {
		if time.Now().After(limit) {
			t.Fatal("a stream without a client stays open")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestStreamsAreRefused(t *testing.T) {
	s := newStreamServer(t)
	s.open(t, "u1", "", "")
	if again := s.open(t, "u1", "", ""); again.StatusCode != http.StatusTooManyRequests || again.Header.Get("Retry-After") != "10" {
		t.Errorf("a second stream of a user: %d %v", again.StatusCode, again.Header)
	}
	s.open(t, "u2", "", "")
	if third := s.open(t, "u3", "", ""); third.StatusCode != http.StatusServiceUnavailable || third.Header.Get("Retry-After") != "10" {
		t.Errorf("a stream of a full replica: %d %v", third.StatusCode, third.Header)
	}
}

func TestAStreamEndsWithItsToken(t *testing.T) {
	s := newStreamServer(t)
	s.expiry = time.Now().Add(100 * time.Millisecond)
	in := bufio.NewReader(s.open(t, "u1", "", "").Body)
	read(t, in)
	read(t, in)
	if got := read(t, in); got != "event: end\ndata: {\"reason\":\"token_expired\"}\n" {
		t.Errorf("got %q", got)
	}
	if rest, err := in.ReadByte(); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the end: %v, %v", rest, err)
	}
}
