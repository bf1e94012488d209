package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	report "caravan/internal/audit"
	"caravan/internal/deadletter"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/money"
	"caravan/services/notifications/app"
	"caravan/services/notifications/audit"
	"caravan/services/notifications/contract"
	"caravan/services/notifications/domain"
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// process is one replica of the service.
type process struct{ *documenttest.Replica }

// counts is an app.Counter that keeps the numbers.
type counts struct {
	mu sync.Mutex
	of map[string]int
}

func (c *counts) Count(_ context.Context, outcome string, _ event.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = make(map[string]int)
	}
	c.of[outcome]++
}

// notifications are the use cases of one replica.
type notifications struct {
	*app.Inboxes
	counter app.Counter
}

// Deliver, List, MarkRead, MarkAllRead and Delete are the use cases.
func (n *notifications) Deliver(ctx context.Context, e event.Event) error {
	return n.deliverEvent().Do(ctx, e)
}

func (n *notifications) List(ctx context.Context, q app.Query) ([]app.Notification, string, error) {
	listed, err := n.Page(ctx, q)
	return listed.Notifications, listed.Next, err
}

func (n *notifications) Page(ctx context.Context, q app.Query) (app.Page, error) {
	return app.ListNotifications{Inboxes: n.Inboxes, Preferences: app.NewPreferences(n.Ports)}.Do(ctx, q)
}

func (n *notifications) MarkAllRead(ctx context.Context, userID string, upTo int) error {
	return app.MarkAllRead{Inboxes: n.Inboxes}.Do(ctx, userID, upTo)
}

func (n *notifications) Delete(ctx context.Context, userID, notificationID string) error {
	return app.DeleteNotification{Inboxes: n.Inboxes}.Do(ctx, userID, notificationID)
}

func (n *notifications) MarkRead(ctx context.Context, userID, notificationID string) error {
	return app.MarkRead{Inboxes: n.Inboxes}.Do(ctx, userID, notificationID)
}

func (n *notifications) deliverEvent() app.DeliverEvent {
	return app.DeliverEvent{Inboxes: n.Inboxes, Counter: n.counter}
}

// over makes the use cases of a replica.
func over(ports app.Ports) *notifications { return &notifications{app.NewInboxes(ports), &counts{}} }

func (p process) notifications() *notifications { return over(p.ports()) }

func (p process) counted(c *counts) *notifications {
	return &notifications{app.NewInboxes(p.ports()), c}
}

func (p process) ports() app.Ports {
	return app.Ports{Store: p, Clock: p, IDs: p, Log: slog.New(slog.DiscardHandler)}
}

// replica is a process over a store that does not crash.
func replica(store *documenttest.FakeStore, name string) process {
	return process{&documenttest.Replica{Store: store, Name: name, Time: func() time.Time { return noon }, Left: -1}}
}

// orderEvent is the n-th event of a user, about an order of its own.
func orderEvent(userID string, n int, at time.Time) event.Event {
	order := fmt.Sprintf("%s-order-%d", userID, n)
	e := event.Event{
		ID: event.ID("orders", order, 5), Type: orders.EventConfirmed, Source: "orders", Subject: order, Sequence: 5, Time: at,
		Data: fmt.Appendf(nil, `{"orderId":%q,"userId":%q,"status":"confirmed","total":{"amount":%d,"currency":"EUR"}}`, order, userID, 100+n),
	}
	return e
}

// orderEvents are n events of a user, a second apart.
func orderEvents(userID string, n int) []event.Event {
	events := make([]event.Event, n)
	for i := range events {
		events[i] = orderEvent(userID, i, noon.Add(time.Duration(i)*time.Second))
	}
	return events
}

func deposit(userID string, n int64) event.Event {
	return event.Event{
		ID: event.ID("payments", userID, n), Type: payments.EventDeposited, Source: "payments", Subject: userID, Sequence: n, Time: noon,
		Data: fmt.Appendf(nil, `{"userId":%q,"depositId":"d","amount":{"amount":500,"currency":"EUR"}}`, userID),
	}
}

func deliver(t testing.TB, n *notifications, events ...event.Event) {
	t.Helper()
	for _, e := range events {
		if err := n.Deliver(t.Context(), e); err != nil {
			t.Fatalf("delivering %s: %v", e.ID, err)
		}
	}
}

// lettersOf is the dead-letter queue of notifications, as service.Consume makes it.
func lettersOf(n *notifications) *deadletter.Queue {
	return deadletter.New(deadletter.Options{
		Consumer: contract.App, Handle: n.Deliver, Check: app.Check, Store: n.Store, Clock: n.Clock, IDs: n.IDs, Log: n.Log,
	})
}

// only receives one dead letter and returns it as it is listed.
func only(t *testing.T, q *deadletter.Queue, body []byte) *deadletter.Letter {
	t.Helper()
	if err := q.Receive(t.Context(), body); err != nil {
		t.Fatal(err)
	}
	letters, _, err := q.List(t.Context(), deadletter.Filter{}, "", 10)
	if err != nil || len(letters) != 1 {
		t.Fatalf("%d letters, %v", len(letters), err)
	}
	return letters[0]
}

// audited walks the whole audit and returns its findings and deliveries.
func audited(ctx context.Context, n *notifications) (contract.AuditPage, error) {
	all := contract.AuditPage{Page: report.NewPage()}
	for cursor := ""; ; {
		page, err := audit.New(n.Inboxes, lettersOf(n), nil).Page(ctx, report.Request{Cursor: cursor})
		if err != nil {
			return all, err
		}
		all.Add(page.Results)
		all.Deliveries = append(all.Deliveries, page.Deliveries...)
		for name, count := range page.Counts {
			all.Counts[name] += count
		}
		if page.Next == "" {
			return all, nil
		}
		cursor = page.Next
	}
}

// exactlyOnce returns an error if the inboxes do not contain exactly the events of each user once, by the audit and by the
// lists as the users read them.
func exactlyOnce(ctx context.Context, n *notifications, events map[string][]event.Event) error {
	found, err := audited(ctx, n)
	if err != nil {
		return err
	}
	if len(found.Findings) > 0 {
		return fmt.Errorf("the audit found %+v", found.Findings)
	}
	var want, got []string
	for user, of := range events {
		var inbox []string
		for _, e := range of {
			want = append(want, user+" "+e.ID)
			inbox = append(inbox, e.Subject)
		}
		var listed []string
		for cursor := ""; ; {
			list, next, err := n.List(ctx, app.Query{UserID: user, Cursor: cursor, Limit: 7})
			if err != nil {
				return err
			}
			for _, item := range list {
				listed = append(listed, item.Subject)
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		slices.Sort(inbox)
		slices.Sort(listed)
		if !slices.Equal(inbox, listed) {
			return fmt.Errorf("%s is shown %v; want %v", user, listed, inbox)
		}
	}
	for _, d := range found.Deliveries {
		got = append(got, d.UserID+" "+d.EventID)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		return fmt.Errorf("audit reports %d deliveries of %d events", len(got), len(want))
	}
	return nil
}

// idOf is the id of the notification of an event.
func idOf(userID string, e event.Event) string { return domain.NotificationID(userID, e.ID, e.Time) }

func euros(amount int64) money.Money { return money.Money{Amount: amount, Currency: "EUR"} }
