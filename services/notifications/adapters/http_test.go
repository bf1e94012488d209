package adapters_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/sidecar"
	"caravan/internal/token"
	"caravan/services/notifications/adapters"
	"caravan/services/notifications/app"
	"caravan/services/notifications/audit"
	"caravan/services/notifications/contract"
	users "caravan/services/users/contract"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// stopped is a clock at noon on which nobody waits.
type stopped struct{}

func (stopped) Now() time.Time                             { return noon }
func (stopped) Sleep(context.Context, time.Duration) error { return context.DeadlineExceeded }

type uncounted struct{}

func (uncounted) Count(context.Context, string, event.Event) {}

// server is the service's routes over a fake store.
type server struct {
	store        *documenttest.FakeStore
	deliverEvent app.DeliverEvent
	mux          *http.ServeMux
}

func newServer() *server {
	s := &server{store: documenttest.NewStore(), mux: http.NewServeMux()}
	inboxes := app.NewInboxes(app.Ports{Store: s.store, Clock: stopped{}, IDs: id.Random{}, Log: slog.New(slog.DiscardHandler)})
	s.deliverEvent = app.DeliverEvent{Inboxes: inboxes, Counter: uncounted{}}
	letters := deadletter.New(deadletter.Options{
		Consumer: contract.App, Handle: s.deliverEvent.Do, Check: app.Check,
		Store: s.store, Clock: stopped{}, IDs: id.Random{}, Log: slog.New(slog.DiscardHandler),
	})
	adapters.API{List: app.ListNotifications{Inboxes: inboxes}, MarkRead: app.MarkRead{Inboxes: inboxes}, Audit: audit.New(inboxes, letters)}.Register(s)
	// What service.Consume does.
	for _, route := range api.Routes(letters, api.Path) {
		permission := users.PermissionOpsRead
		if route.Write {
			permission = users.PermissionOpsWrite
		}
		s.Public(route.Pattern, func(r *http.Request) (request.Answer, error) {
			caller, err := service.Require(r, permission)
			if err != nil {
				return request.Answer{}, err
			}
			return route.Handle(r, caller.Subject)
		})
	}
	subscriber := sidecar.NewSubscriber(sidecar.SubscriberOptions{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	deliveries := subscriber.Raw("notifications.dead", letters.Receive)
	s.mux.HandleFunc("POST /events/dead", func(w http.ResponseWriter, r *http.Request) {
		if err := deliveries(w, r); err != nil {
			problem.Write(w, r, err)
		}
	})
	return s
}

// Public and Internal serve a route without the guards of the chassis.
func (s *server) Public(pattern string, h request.Handler) {
	pattern, _ = request.SplitPattern(pattern)
	s.mux.HandleFunc(pattern, request.HTTP(h))
}

func (s *server) Internal(pattern string, h request.Handler) {
	s.Public(pattern, h)
}

// customer and staff are callers; the empty one has no token.
var (
	nobody   = token.Claims{}
	customer = token.Claims{Subject: "u1", Permissions: users.PermissionsOf([]string{users.RoleCustomer})}
	other    = token.Claims{Subject: "u2", Permissions: users.PermissionsOf([]string{users.RoleCustomer})}
	staff    = token.Claims{Subject: "s1", Permissions: users.PermissionsOf([]string{users.RoleStaff})}
)

func (s *server) call(t *testing.T, caller token.Claims, method, target, body string, out any) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.ContentLength = -1 // a sidecar sends every body in chunks
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if caller.Subject != "" {
		r = r.WithContext(token.With(r.Context(), caller))
	}
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	answer, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if w.Code >= 400 && w.Header().Get("Content-Type") != problem.ContentType {
		t.Errorf("%s %s answers %d as %s", method, target, w.Code, w.Header().Get("Content-Type"))
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			t.Fatalf("%s %s answers %s: %v", method, target, answer, err)
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

func (s *server) deliver(t *testing.T, events ...event.Event) {
	t.Helper()
	for _, e := range events {
		if err := s.deliverEvent.Do(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func TestListAndRead(t *testing.T) {
	s := newServer()
	s.deliver(t, confirmed("u1", 1), confirmed("u1", 2), confirmed("u2", 1))
	var list page.List[map[string]any]
	if status := s.call(t, customer, "GET", "/v1/notifications?limit=1", "", &list); status != 200 {
		t.Fatalf("status %d", status)
	}
	newest := list.Items[0]
	for member, want := range map[string]any{
		"type": "orders.confirmed.v1", "subject": "order-u1-2", "title": "Your order is confirmed",
		"createdAt": "2026-03-01T12:00:00Z", "occurredAt": "2026-03-01T12:00:00Z",
	} {
		if newest[member] != want {
			t.Errorf("%s is %v; want %v", member, newest[member], want)
		}
	}
	if got := fmt.Sprint(newest["data"]); got != "map[amount:map[amount:1999 currency:EUR] orderId:order-u1-2]" {
		t.Errorf("data is %s", got)
	}
	if _, read := newest["readAt"]; read || list.Next == "" || newest["body"] == "" || len(newest) != 8 {
		t.Errorf("newest is %v, next %q", newest, list.Next)
	}
	target := fmt.Sprintf("/v1/notifications/%v/read", newest["id"])
	if status := s.call(t, other, "POST", target, "", nil); status != 404 {
		t.Errorf("another user's read is %d", status)
	}
	for range 2 {
		if status := s.call(t, customer, "POST", target, "", nil); status != 204 {
			t.Errorf("read is %d", status)
		}
	}
	list = page.List[map[string]any]{}
	if s.call(t, customer, "GET", "/v1/notifications?unread=true", "", &list); len(list.Items) != 1 || list.Items[0]["subject"] != "order-u1-1" || list.Next != "" {
		t.Errorf("unread are %v", list)
	}
	list = page.List[map[string]any]{}
	if s.call(t, customer, "GET", "/v1/notifications?unread=false", "", &list); len(list.Items) != 2 || list.Items[0]["readAt"] != "2026-03-01T12:00:00Z" {
		t.Errorf("all are %v", list)
	}
}

func TestAnEmptyInboxIsAnEmptyList(t *testing.T) {
	s := newServer()
	var raw map[string]json.RawMessage
	if status := s.call(t, customer, "GET", "/v1/notifications", "", &raw); status != 200 || string(raw["items"]) != "[]" || len(raw) != 1 {
		t.Errorf("%d %s", status, raw)
	}
}

func TestRefusals(t *testing.T) {
	s := newServer()
	s.deliver(t, confirmed("u1", 1))
	tests := []struct {
		caller         token.Claims
		method, target string
		body           string
		status         int
	}{
		{nobody, "GET", "/v1/notifications", "", 401},
		{nobody, "POST", "/v1/notifications/x/read", "", 401},
		{customer, "GET", "/v1/notifications?limit=0", "", 400},
		{customer, "GET", "/v1/notifications?limit=101", "", 400},
		{customer, "GET", "/v1/notifications?unread=maybe", "", 400},
		{customer, "GET", "/v1/notifications?cursor=%25%25", "", 400},
		{customer, "POST", "/v1/notifications/x/read", "", 404},
		{nobody, "GET", "/v1/ops/dead-letters", "", 401},
		{customer, "GET", "/v1/ops/dead-letters", "", 403},
		{customer, "POST", "/v1/ops/dead-letters/x/replay", "", 403},
		{customer, "POST", "/v1/ops/dead-letters/x/discard", `{"reason":"x"}`, 403},
		{staff, "GET", "/v1/ops/dead-letters?limit=x", "", 400},
		{staff, "POST", "/v1/ops/dead-letters/x/replay", "", 404},
		{staff, "POST", "/v1/ops/dead-letters/x/discard", `{"reason":"x"}`, 404},
		{staff, "POST", "/v1/ops/dead-letters/x/discard", `{}`, 400},
		{staff, "POST", "/v1/ops/dead-letters/x/discard", `{"reason":"x","why":"y"}`, 400},
		{staff, "POST", "/v1/ops/dead-letters/x/discard", "", 400},
		{nobody, "POST", "/internal/audit", `{"cursor":"%%"}`, 400},
	}
	for _, test := range tests {
		if status := s.call(t, test.caller, test.method, test.target, test.body, nil); status != test.status {
			t.Errorf("%s %s by %q is %d; want %d", test.method, test.target, test.caller.Subject, status, test.status)
		}
	}
}

func TestDeadLetters(t *testing.T) {
	s := newServer()
	good, err := confirmed("u1", 1).CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{string(good), "\xff not even text", strings.Repeat("x", 100<<10), string(good)} {
		var answer map[string]string
		if status := s.call(t, nobody, "POST", "/events/dead", body, &answer); status != 200 || answer["status"] != "SUCCESS" {
			t.Fatalf("delivery is %d %v", status, answer)
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
	var inbox page.List[adapters.Notification]
	if s.call(t, customer, "GET", "/v1/notifications", "", &inbox); len(inbox.Items) != 1 {
		t.Errorf("the inbox has %d entries", len(inbox.Items))
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

func TestADeadLetterThatCannotBeKeptComesAgain(t *testing.T) {
	s := newServer()
	s.store.BeforeGet = func([]string) error { return documenttest.ErrInjected }
	var answer map[string]string
	if status := s.call(t, nobody, "POST", "/events/dead", "x", &answer); status != 200 || answer["status"] != "RETRY" {
		t.Errorf("delivery is %d %v", status, answer)
	}
}

func TestAudit(t *testing.T) {
	s := newServer()
	s.deliver(t, confirmed("u1", 1), confirmed("u2", 1))
	var raw map[string]json.RawMessage
	if status := s.call(t, nobody, "POST", "/internal/audit", `{"cursor":""}`, &raw); status != 200 {
		t.Fatalf("status %d", status)
	}
	if string(raw["findings"]) != "[]" || !strings.Contains(string(raw["deliveries"]), `{"eventId":"orders/order-u1-1/5","userId":"u1","occurredAt":`) || raw["next"] == nil {
		t.Errorf("answers %s", raw)
	}
}

// TestAuditTakesTheLargestQuestion: a storm's audit asked about more events than
// fit into a public body, and was refused.
func TestAuditTakesTheLargestQuestion(t *testing.T) {
	s := newServer()
	s.deliver(t, confirmed("u1", 1))
	question := contract.EntriesRequest{Events: make([]contract.EventRef, contract.MaxEntries)}
	for i := range question.Events {
		question.Events[i] = contract.EventRef{EventID: strings.Repeat("e", 300), UserID: strings.Repeat("u", 64), OccurredAt: noon}
	}
	question.Events[7] = contract.EventRef{EventID: "orders/order-u1-1/5", UserID: "u1", OccurredAt: noon}
	body, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	var answer contract.Entries
	if status := s.call(t, nobody, "POST", contract.PathEntries, string(body), &answer); status != 200 || len(answer.Entries) != contract.MaxEntries {
		t.Fatalf("%d bytes are answered with %d and %d entries", len(body), status, len(answer.Entries))
	}
	if answer.Entries[7].Times != 1 || answer.Entries[8].Times != 0 {
		t.Errorf("the entries are %+v and %+v", answer.Entries[7], answer.Entries[8])
	}
}
