package deadletter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/internal/clock"
	"caravan/internal/deadletter"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/id"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// temporary is the error of a store that is unavailable for now.
type temporary struct{}

func (temporary) Error() string   { return "the store is unavailable" }
func (temporary) Temporary() bool { return true }

// process is a replica of the consumer.
type process struct{ *documenttest.Replica }

// replica is a process that does not crash.
func replica(store *documenttest.FakeStore, name string) process {
	return process{&documenttest.Replica{Store: store, Name: name, Time: func() time.Time { return noon }, Left: -1}}
}

// queue is the dead-letter queue of the consumer of the process.
func (p process) queue() *deadletter.Queue { return queueOver(p, p) }

func queueOver(p process, clk clock.Clock) *deadletter.Queue {
	return deadletter.New(deadletter.Options{
		Consumer: "notifications", Handle: handler(p, clk), Check: check, Store: p, Clock: clk, IDs: p, Log: slog.New(slog.DiscardHandler),
	})
}

// inbox is the document in which the consumer stores the events of a user.
type inbox struct {
	document.Root
	Events []string `json:"events"`
}

func inboxes(store document.Store, clk clock.Clock, ids id.Source) *document.Repository[inbox, *inbox] {
	return document.NewRepository[inbox](store, document.Options{Prefix: "inbox/", Clock: clk, IDs: ids})
}

// handler is a consumer that stores each event in the inbox of its user, once.
func handler(p process, clk clock.Clock) event.Handler {
	stored := inboxes(p, clk, p)
	return func(ctx context.Context, e event.Event) error {
		if err := check(e); err != nil {
			return event.Drop(err)
		}
		var data payload
		if err := json.Unmarshal(e.Data, &data); err != nil {
			return event.Drop(err)
		}
		_, err := stored.Update(ctx, data.UserID, func(i *inbox) error {
			if slices.Contains(i.Events, e.ID) {
				return document.ErrUnchanged
			}
			i.Events = append(i.Events, e.ID)
			return nil
		})
		return err
	}
}

// payload is the data of the events that the consumer handles.
type payload struct {
	UserID  string          `json:"userId"`
	OrderID string          `json:"orderId"`
	Total   json.RawMessage `json:"total"`
}

// check says which events the consumer can never handle.
func check(e event.Event) error {
	var data payload
	err := json.Unmarshal(e.Data, &data)
	switch {
	case err != nil:
		return fmt.Errorf("malformed payload: %w", err)
	case strings.HasPrefix(e.Type, "orders.") && data.OrderID == "":
		return errors.New("malformed payload: orderId is missing")
	case strings.HasPrefix(e.Type, "orders.") && data.Total == nil:
		return errors.New("malformed payload: total is missing")
	case data.UserID == "":
		return errors.New("malformed payload: userId is missing")
	}
	return nil
}

// orderEvent is event n of a user, about its own order.
func orderEvent(userID string, n int, at time.Time) event.Event {
	order := fmt.Sprintf("%s-order-%d", userID, n)
	return event.Event{
		ID: event.ID("orders", order, 5), Type: "orders.confirmed.v1", Source: "orders", Subject: order, Sequence: 5, Time: at,
		Data: fmt.Appendf(nil, `{"orderId":%q,"userId":%q,"status":"confirmed","total":{"amount":%d,"currency":"EUR"}}`, order, userID, 100+n),
	}
}

// orderEvents are n events of a user, a second apart.
func orderEvents(userID string, n int) []event.Event {
	events := make([]event.Event, n)
	for i := range events {
		events[i] = orderEvent(userID, i, noon.Add(time.Duration(i)*time.Second))
	}
	return events
}

// exactlyOnce returns what is wrong when the inboxes do not contain the events of each user exactly once, or when the
// audit finds something.
func exactlyOnce(ctx context.Context, q *deadletter.Queue, events map[string][]event.Event) error {
	if _, findings, err := audited(ctx, q); err != nil || len(findings) > 0 {
		return fmt.Errorf("the audit found %v, %w", findings, err)
	}
	for user, of := range events {
		var want []string
		for _, e := range of {
			want = append(want, e.ID)
		}
		stored, err := inboxes(q.Store, nil, nil).GetMany(ctx, user)
		if err != nil {
			return err
		}
		var got []string
		if stored[user] != nil {
			got = slices.Clone(stored[user].Events)
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("the inbox of %s has %v; want %v", user, got, want)
		}
	}
	return nil
}

// cloudEvent is an event as the broker delivers it.
func cloudEvent(t testing.TB, e event.Event) []byte {
	t.Helper()
	body, err := e.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// fact is the first event about a subject.
func fact(t testing.TB, typ, subject string, data any) event.Event {
	t.Helper()
	encoded, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	source, _, _ := strings.Cut(typ, ".")
	return event.Event{ID: event.ID(source, subject, 1), Type: typ, Source: source, Subject: subject, Sequence: 1, Time: noon, Data: encoded}
}
