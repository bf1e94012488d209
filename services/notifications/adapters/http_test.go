package adapters_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"caravan/internal/deadletter"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/id"
	"caravan/internal/page"
	"caravan/internal/service/servicetest"
	"caravan/internal/token"
	"caravan/services/notifications/adapters"
	"caravan/services/notifications/app"
	"caravan/services/notifications/audit"
	"caravan/services/notifications/contract"
	users "caravan/services/users/contract"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// stopped is a clock that stays at noon.
type stopped struct{}

func (stopped) Now() time.Time                             { return noon }
func (stopped) Sleep(context.Context, time.Duration) error { return context.DeadlineExceeded }

type uncounted struct{}

func (uncounted) Count(context.Context, string, event.Event) {}

// server is the routes of the service over a fake store.
type server struct {
	servicetest.Server
	deliverEvent app.DeliverEvent
}

func newServer() *server { return newServerWith("") }

// newServerWith is newServer with a public key for push.
func newServerWith(pushKey string) *server {
	store := documenttest.NewStore()
	ports := app.Ports{Store: store, Clock: stopped{}, IDs: id.Random{}, Log: slog.New(slog.DiscardHandler)}
	inboxes, preferences := app.NewInboxes(ports), app.NewPreferences(ports)
	devices := app.NewPushSubscriptions(ports)
	s := &server{deliverEvent: app.DeliverEvent{Inboxes: inboxes, Counter: uncounted{}}}
	letters := deadletter.New(deadletter.Options{
		Consumer: contract.App, Handle: s.deliverEvent.Do, Check: app.Check,
		Store: store, Clock: stopped{}, IDs: id.Random{}, Log: slog.New(slog.DiscardHandler),
	})
	adapters.API{
		List:     app.ListNotifications{Inboxes: inboxes, Preferences: preferences},
		MarkRead: app.MarkRead{Inboxes: inboxes}, MarkAllRead: app.MarkAllRead{Inboxes: inboxes}, Delete: app.DeleteNotification{Inboxes: inboxes},
		ShowPreferences: app.ShowPreferences{Preferences: preferences}, SetPreferences: app.SetPreferences{Preferences: preferences},
		ShowUnsubscription: app.ShowUnsubscription{Preferences: preferences, Links: links, Clock: stopped{}},
		Unsubscribe:        app.Unsubscribe{Preferences: preferences, Links: links, Clock: stopped{}},
		Push: adapters.PushAPI{
			Subscribe: app.SubscribePush{PushSubscriptions: devices}, List: app.ListPushSubscriptions{PushSubscriptions: devices},
			Unsubscribe: app.UnsubscribePush{PushSubscriptions: devices}, PublicKey: pushKey,
		},
		Audit: audit.New(inboxes, letters, nil), ResendDelivery: app.ResendDelivery{IDs: id.Random{}},
	}.Register(&s.Server)
	return s
}

// customer and other are callers; nobody has no token.
var (
	nobody   = token.Claims{}
	customer = token.Claims{Subject: "u1", Permissions: users.PermissionsOf([]string{users.RoleCustomer})}
	staff    = token.Claims{Subject: "s1", Permissions: users.PermissionsOf([]string{users.RoleStaff})}
	other    = token.Claims{Subject: "u2", Permissions: users.PermissionsOf([]string{users.RoleCustomer})}
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
	if _, read := newest["readAt"]; read || list.Next == "" || newest["body"] == "" || newest["position"] != 2.0 || len(newest) != 9 {
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

func TestReadAllAndDelete(t *testing.T) {
	s := newServer()
	s.deliver(t, confirmed("u1", 1), confirmed("u1", 2), confirmed("u1", 3), confirmed("u2", 1))
	var list adapters.NotificationList
	if s.call(t, customer, "GET", "/v1/notifications", "", &list); list.Unread != 3 || len(list.Items) != 3 {
		t.Fatalf("the inbox is %+v", list)
	}
	if status := s.call(t, customer, "POST", "/v1/notifications/read-all", `{"upTo":2}`, nil); status != 204 {
		t.Fatalf("read-all is %d", status)
	}
	var after adapters.NotificationList
	s.call(t, customer, "GET", "/v1/notifications", "", &after)
	if after.Unread != 1 || !after.Items[0].ReadAt.IsZero() || !after.Items[1].ReadAt.Equal(noon) || !after.Items[2].ReadAt.Equal(noon) {
		t.Errorf("after read-all the inbox is %+v", after)
	}
	target := "/v1/notifications/" + list.Items[0].ID
	if status := s.call(t, other, "DELETE", target, "", nil); status != 404 {
		t.Errorf("another user's is deleted: %d", status)
	}
	for range 2 {
		if status := s.call(t, customer, "DELETE", target, "", nil); status != 204 {
			t.Errorf("delete is %d", status)
		}
	}
	if status := s.call(t, customer, "POST", target+"/read", "", nil); status != 404 {
		t.Errorf("reading a deleted one is %d", status)
	}
	var rest adapters.NotificationList
	if s.call(t, customer, "GET", "/v1/notifications", "", &rest); rest.Unread != 0 || len(rest.Items) != 2 || rest.Items[0].Position != 2 {
		t.Errorf("after delete the inbox is %+v", rest)
	}
}

func TestAnEmptyInboxIsAnEmptyList(t *testing.T) {
	s := newServer()
	var raw map[string]json.RawMessage
	if status := s.call(t, customer, "GET", "/v1/notifications", "", &raw); status != 200 || string(raw["items"]) != "[]" || string(raw["unread"]) != "0" || len(raw) != 2 {
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
		{nobody, "POST", "/v1/notifications/read-all", `{"upTo":1}`, 401},
		{customer, "POST", "/v1/notifications/read-all", "", 400},
		{customer, "POST", "/v1/notifications/read-all", `{"upTo":0}`, 400},
		{nobody, "DELETE", "/v1/notifications/x", "", 401},
		{customer, "DELETE", "/v1/notifications/x", "", 404},
		{nobody, "POST", "/internal/audit", `{"cursor":"%%"}`, 400},
		{nobody, "GET", "/v1/ops/notifications", "", 401},
		{customer, "GET", "/v1/ops/notifications", "", 403},
		{customer, "POST", "/v1/ops/notifications/x/resend", "", 403},
		{staff, "GET", "/v1/ops/notifications?status=lost", "", 400},
		{staff, "GET", "/v1/ops/notifications?channel=in-app", "", 400},
		{staff, "GET", "/v1/ops/notifications?kind=nothing", "", 400},
		{staff, "GET", "/v1/ops/notifications?user=x%20y", "", 400},
		{staff, "GET", "/v1/ops/notifications?since=yesterday", "", 400},
		{staff, "GET", "/v1/ops/notifications?status=failed&channel=email&kind=welcome&since=2026-03-01T12:00:00Z", "", 200},
		{staff, "POST", "/v1/ops/notifications/x/resend", `{"id":"x"}`, 400},
		{staff, "POST", "/v1/ops/notifications/x/resend", "", 404},
	}
	for _, test := range tests {
		if status := s.call(t, test.caller, test.method, test.target, test.body, nil); status != test.status {
			t.Errorf("%s %s by %q is %d; want %d", test.method, test.target, test.caller.Subject, status, test.status)
		}
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
