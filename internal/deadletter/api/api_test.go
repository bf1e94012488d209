package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"caravan/internal/deadletter"
	"caravan/internal/deadletter/api"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/id"
	"caravan/internal/page"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/service/servicetest"
	"caravan/internal/token"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// stopped is a clock that stays at noon; no test sleeps on it.
type stopped struct{}

func (stopped) Now() time.Time                             { return noon }
func (stopped) Sleep(context.Context, time.Duration) error { return context.DeadlineExceeded }

// server has the routes of a queue with a fake store, behind the permissions that service.Consume sets.
type server struct {
	servicetest.Server
	store *documenttest.FakeStore
	queue *deadletter.Queue

	handled int // events
}

func newServer() *server {
	s := &server{store: documenttest.NewStore()}
	s.queue = deadletter.New(deadletter.Options{
		Consumer: "notifications", Handle: s.handle, Store: s.store, Clock: stopped{}, IDs: id.Random{}, Log: slog.New(slog.DiscardHandler),
	})
	for _, route := range api.Routes(s.queue, api.Path) {
		permission := "ops:read"
		if route.Write {
			permission = "ops:write"
		}
		s.Public(route.Pattern, func(r *http.Request) (request.Answer, error) {
			caller, err := service.Require(r, permission)
			if err != nil {
				return request.Answer{}, err
			}
			return route.Handle(r, caller.Subject)
		})
	}
	return s
}

// handle is a consumer that has to read the inbox of a user.
func (s *server) handle(ctx context.Context, _ event.Event) error {
	_, err := s.store.Get(ctx, "inbox/u1")
	if err == nil {
		s.handled++
	}
	return err
}

// customer and staff are callers; nobody has no token.
var (
	nobody   = token.Claims{}
	customer = token.Claims{Subject: "u1"}
	staff    = token.Claims{Subject: "s1", Permissions: []string{"ops:read", "ops:write"}}
)

func (s *server) call(t *testing.T, caller token.Claims, method, target, body string, out any) int {
	t.Helper()
	w := s.Do(t, servicetest.Request{Method: method, Target: target, Body: body, Caller: caller})
	if out != nil {
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			t.Fatalf("%s %s answers %s: %v", method, target, w.Body, err)
		}
	}
	return w.Code
}

func confirmed(userID string, n int) event.Event {
	order := fmt.Sprintf("order-%s-%d", userID, n)
	return event.Event{
		ID: event.ID("orders", order, 5), Type: "orders.confirmed.v1", Source: "orders", Subject: order, Sequence: 5, Time: noon,
		Data: fmt.Appendf(nil, `{"orderId":%q,"userId":%q,"status":"confirmed","total":{"amount":1999,"currency":"EUR"}}`, order, userID),
	}
}

const replays = "/v1/ops/dead-letters/replays"

// keyed calls as staff with an Idempotency-Key.
func (s *server) keyed(t *testing.T, key, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	return s.Do(t, servicetest.Request{
		Method: "POST", Target: target, Body: body, Caller: staff, Header: map[string]string{"Idempotency-Key": key},
	})
}

func slug(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	return servicetest.Problem(t, w).Slug()
}

func TestABatchOverHTTP(t *testing.T) {
	s := newServer()
	body := `{"filter":{"topic":"orders","since":"2026-01-01T00:00:00Z"},"perSecond":7,"reason":"repaired"}`
	started := s.keyed(t, "k", "/v1/ops/dead-letters/replay", body)
	var b api.Batch
	if err := json.Unmarshal(started.Body.Bytes(), &b); err != nil || started.Code != 202 || started.Header().Get("Location") != replays+"/"+b.ID {
		t.Fatalf("%d %s, %v", started.Code, started.Body, err)
	}
	if b.Action != "replay" || b.Status != "running" || b.PerSecond != 7 || b.Reason != "repaired" || b.RequestedBy != "s1" || b.Filter.Topic != "orders" || b.Failures == nil {
		t.Errorf("started %+v", b)
	}
	if again := s.keyed(t, `"k"`, "/v1/ops/dead-letters/replay", body); again.Code != 202 || again.Body.String() != started.Body.String() {
		t.Errorf("again: %d %s", again.Code, again.Body)
	}
	if reused := s.keyed(t, "k", "/v1/ops/dead-letters/replay", `{"filter":{}}`); reused.Code != 422 || slug(t, reused) != "idempotency-key-reused" {
		t.Errorf("reused: %d %s", reused.Code, reused.Body)
	}
	var list page.List[api.Batch]
	if status := s.call(t, staff, "GET", replays, "", &list); status != 200 || len(list.Items) != 1 || list.Items[0].ID != b.ID {
		t.Errorf("listed %d %+v", status, list)
	}
	if status := s.call(t, staff, "GET", "/v1/ops/dead-letters/discards", "", &list); status != 200 || len(list.Items) != 0 {
		t.Errorf("listed as discards %d %+v", status, list)
	}
	if status := s.call(t, staff, "GET", "/v1/ops/dead-letters/discards/"+b.ID, "", nil); status != 404 {
		t.Errorf("shown as a discard: %d", status)
	}
	for range 2 {
		if status := s.call(t, staff, "POST", replays+"/"+b.ID+"/cancel", "", &b); status != 200 || b.Status != "cancelled" || b.EndedBy != "s1" {
			t.Errorf("cancelled: %d %+v", status, b)
		}
	}
	done := s.keyed(t, "d", "/v1/ops/dead-letters/discard", `{"filter":{},"reason":"nothing"}`)
	if err := json.Unmarshal(done.Body.Bytes(), &b); err != nil || b.PerSecond != 100 || b.Action != "discard" {
		t.Fatalf("%d %s, %v", done.Code, done.Body, err)
	}
	if err := deadletter.NewBatchWorker(s.queue).Work(t.Context(), deadletter.ActiveBatch{ID: b.ID, At: b.RequestedAt}); err != nil {
		t.Fatal(err)
	}
	if status := s.call(t, staff, "GET", "/v1/ops/dead-letters/discards/"+b.ID, "", &b); status != 200 || b.Status != "finished" || b.EndedAt.IsZero() {
		t.Errorf("finished: %d %+v", status, b)
	}
}

func TestRefusedBatches(t *testing.T) {
	s := newServer()
	for _, c := range []struct {
		target, body string
		status       int
	}{
		{"replay", `{}`, 400},
		{"replay", `{"filter":null}`, 400},
		{"replay", `{"filter":{},"perSecond":0}`, 400},
		{"replay", `{"filter":{},"perSecond":101}`, 400},
		{"replay", `{"filter":{},"reason":"` + strings.Repeat("x", 501) + `"}`, 400},
		{"replay", `{"filter":{"status":"replayed"}}`, 400},
		{"replay", `{"filter":{"reason":"` + strings.Repeat("x", 201) + `"}}`, 400},
		{"replay", `{"filter":{"since":"yesterday"}}`, 400},
		{"discard", `{"filter":{}}`, 400},
		{"discard", `{"filter":{},"reason":""}`, 400},
	} {
		if w := s.keyed(t, "k", "/v1/ops/dead-letters/"+c.target, c.body); w.Code != c.status {
			t.Errorf("%s %.80s: %d %s", c.target, c.body, w.Code, w.Body)
		}
	}
	for _, c := range []struct {
		caller         token.Claims
		method, target string
		status         int
	}{
		{staff, "POST", "/v1/ops/dead-letters/replay", 400}, // without a key
		{customer, "POST", "/v1/ops/dead-letters/replay", 403},
		{nobody, "POST", "/v1/ops/dead-letters/discard", 401},
		{customer, "GET", replays, 403},
		{customer, "GET", replays + "/x", 403},
		{customer, "POST", replays + "/x/cancel", 403},
		{nobody, "GET", "/v1/ops/dead-letters", 401},
		{customer, "GET", "/v1/ops/dead-letters", 403},
		{customer, "GET", "/v1/ops/dead-letters/x", 403},
		{customer, "POST", "/v1/ops/dead-letters/x/replay", 403},
		{customer, "POST", "/v1/ops/dead-letters/x/discard", 403},
		{staff, "GET", "/v1/ops/dead-letters?limit=x", 400},
		{staff, "GET", replays + "/x", 404},
		{staff, "POST", replays + "/x/cancel", 404},
		{staff, "GET", "/v1/ops/dead-letters/x", 404},
		{staff, "GET", "/v1/ops/dead-letters/" + deadletter.ID("none"), 404},
		{staff, "GET", "/v1/ops/dead-letters?status=lost", 400},
		{staff, "GET", "/v1/ops/dead-letters?since=yesterday", 400},
		{staff, "GET", "/v1/ops/dead-letters?until=2026-01-01", 400},
		{staff, "GET", "/v1/ops/dead-letters?reason=" + strings.Repeat("x", 201), 400},
	} {
		body := ""
		if c.method == "POST" && !strings.HasSuffix(c.target, "cancel") {
			body = `{"filter":{},"reason":"x"}`
		}
		if status := s.call(t, c.caller, c.method, c.target, body, nil); status != c.status {
			t.Errorf("%s %s by %q is %d; want %d", c.method, c.target, c.caller.Subject, status, c.status)
		}
	}
	for _, c := range []struct {
		target, body string
		status       int
	}{
		{"x/replay", "", 404},
		{"x/discard", `{"reason":"x"}`, 404},
		{"x/discard", `{}`, 400},
		{"x/discard", `{"reason":"x","why":"y"}`, 400},
		{"x/discard", "", 400},
	} {
		if status := s.call(t, staff, "POST", "/v1/ops/dead-letters/"+c.target, c.body, nil); status != c.status {
			t.Errorf("%s %s: %d; want %d", c.target, c.body, status, c.status)
		}
	}
	full := 0
	for i := range 10 {
		if w := s.keyed(t, fmt.Sprint("k", i), "/v1/ops/dead-letters/replay", `{"filter":{}}`); w.Code == 409 && slug(t, w) == "too-many-batches" {
			full++
		}
	}
	if full != 2 {
		t.Errorf("%d of 10 batches were too many", full)
	}
}

func TestADeadLetterInDetail(t *testing.T) {
	s := newServer()
	s.store.BeforeGet(func(keys []string) error {
		if keys[0] == "inbox/u1" {
			return fmt.Errorf("decoding document %s: it is broken", keys[0])
		}
		return nil
	})
	good, err := confirmed("u1", 1).CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{string(good), "\xff not text"} {
		if err := s.queue.Receive(t.Context(), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	var list page.List[api.DeadLetter]
	if s.call(t, staff, "GET", "/v1/ops/dead-letters?type=orders.confirmed.v1&status=open&consumer=notifications&topic=orders&reason=BROKEN&since=2026-03-01T12:00:00Z&until=2026-03-01T12:00:01Z", "", &list); len(list.Items) != 1 {
		t.Fatalf("found %+v", list)
	}
	target := "/v1/ops/dead-letters/" + list.Items[0].ID
	// A failure is recorded too. A repeat of the request with its key neither tries again nor records it again.
	for range 2 {
		w := s.keyed(t, "r1", target+"/replay", `{"reason":"is it well?"}`)
		if w.Code != 422 || slug(t, w) != "dead-letter-unreplayable" || !strings.Contains(w.Body.String(), "broken") {
			t.Errorf("replayed in vain: %d %s", w.Code, w.Body)
		}
	}
	if w := s.keyed(t, "r1", target+"/replay", `{"reason":"other"}`); w.Code != 422 || slug(t, w) != "idempotency-key-reused" {
		t.Errorf("the key again: %d %s", w.Code, w.Body)
	}
	s.store.BeforeGet(nil)
	if w := s.keyed(t, "r2", target+"/replay", ""); w.Code != 200 {
		t.Errorf("replayed: %d %s", w.Code, w.Body)
	}
	var d api.DeadLetterDetail
	if status := s.call(t, staff, "GET", target, "", &d); status != 200 || d.Status != "replayed" || d.Payload != string(good) || string(d.Event) != string(good) || d.PayloadEncoding != "text" {
		t.Fatalf("%d %+v", status, d)
	}
	var kinds []string
	for _, a := range d.History {
		kinds = append(kinds, a.By+" "+a.Kind+" "+a.Reason)
	}
	if got := strings.Join(kinds, "; "); got != "notifications received ; notifications replay_failed tried once more on arrival; s1 replay_failed is it well?; s1 replayed " {
		t.Errorf("history is %s", got)
	}
	if d.Attempts != 4 || d.LastFailure != "" || d.Reason == "" || !d.LastAttemptAt.Equal(noon) {
		t.Errorf("detail is %+v", d)
	}
	s.call(t, staff, "GET", "/v1/ops/dead-letters?status=open", "", &list)
	if status := s.call(t, staff, "GET", "/v1/ops/dead-letters/"+list.Items[0].ID, "", &d); status != 200 || d.PayloadEncoding != "base64" || d.Payload != "/yBub3QgdGV4dA==" {
		t.Errorf("%d %+v", status, d)
	}
}

func TestLettersOverHTTP(t *testing.T) {
	s := newServer()
	good, err := confirmed("u1", 1).CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{string(good), "\xff not even text", strings.Repeat("x", 100<<10), string(good)} {
		if err := s.queue.Receive(t.Context(), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	var list page.List[api.DeadLetter]
	if status := s.call(t, staff, "GET", "/v1/ops/dead-letters", "", &list); status != 200 || len(list.Items) != 3 {
		t.Fatalf("%d %+v", status, list)
	}
	large, garbage, event := list.Items[0], list.Items[1], list.Items[2]
	if !large.PayloadTruncated || len(large.Payload) > 2048 || large.Size != 100<<10 {
		t.Errorf("large is %d of %d bytes", len(large.Payload), large.Size)
	}
	if garbage.Payload != "\ufffd not even text" || garbage.Reason == "" || !garbage.FirstSeen.Equal(noon) || garbage.Status != "open" {
		t.Errorf("garbage is %+v", garbage)
	}
	if event.Topic != "orders" || event.EventID != "orders/order-u1-1/5" || event.Type != "orders.confirmed.v1" {
		t.Errorf("event is %+v", event)
	}
	for range 2 {
		var replayed api.DeadLetter
		if status := s.call(t, staff, "POST", "/v1/ops/dead-letters/"+event.ID+"/replay", "", &replayed); status != 200 || replayed.Status != "replayed" || replayed.DecidedBy != "notifications" {
			t.Errorf("replay is %d %+v", status, replayed)
		}
	}
	if s.handled != 1 {
		t.Errorf("the event was handled %d times", s.handled)
	}
	for _, decision := range []struct {
		target string
		want   int
	}{
		{event.ID + "/discard", 409}, {garbage.ID + "/replay", 422}, {large.ID + "/replay", 422}, {large.ID + "/discard", 200},
	} {
		if status := s.call(t, staff, "POST", "/v1/ops/dead-letters/"+decision.target, `{"reason":"of no use"}`, nil); status != decision.want {
			t.Errorf("%s is %d; want %d", decision.target, status, decision.want)
		}
	}
	if status := s.call(t, staff, "POST", "/v1/ops/dead-letters/"+large.ID+"/replay", "", nil); status != 409 {
		t.Errorf("replay of what was discarded is %d", status)
	}
}
