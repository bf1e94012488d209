package app_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/services/notifications/app"
	products "caravan/services/products/contract"
	users "caravan/services/users/contract"
)

// crew is an app.Staff that changes: each call has the next list, and the last one stays.
type crew struct {
	lists [][]string
	asked int
	away  error
}

func (c *crew) With(_ context.Context, permission string, limit int) ([]string, error) {
	if c.away != nil {
		return nil, c.away
	}
	list := c.lists[min(c.asked, len(c.lists)-1)]
	if c.asked++; permission != users.PermissionInventoryAdjust {
		return nil, fmt.Errorf("asked for %s", permission)
	}
	return list[:min(len(list), limit)], nil
}

func lowStock(sequence int64) event.Event {
	return event.Event{
		ID: event.ID("products", "stock/TEA", sequence), Type: products.EventStockLow, Source: "products", Subject: "stock/TEA",
		Sequence: sequence, Time: noon, Data: []byte(`{"sku":"TEA","available":3,"threshold":5}`),
	}
}

func priceDrop(sequence int64, users string) event.Event {
	return event.Event{
		ID: event.ID("products", "watchers/TEA/7", sequence), Type: products.EventPriceDropped, Source: "products", Subject: "watchers/TEA/7",
		Sequence: sequence, Time: noon, Data: fmt.Appendf(nil, `{"sku":"TEA","name":"Tea","old":{"amount":1000,"currency":"EUR"},"new":{"amount":900,"currency":"EUR"},"userIds":%s}`, users),
	}
}

// eventsOf are the events in the inbox of a user.
func eventsOf(t *testing.T, n *notifications, userID string) []string {
	t.Helper()
	inboxes, err := n.GetMany(t.Context(), userID)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	if inbox := inboxes[userID]; inbox != nil {
		for _, e := range inbox.Entries {
			ids = append(ids, e.EventID)
		}
	}
	slices.Sort(ids)
	return ids
}

func TestAnEventForStaffReachesThoseWhoWereStaffWhenItCame(t *testing.T) {
	staff := &crew{lists: [][]string{{"s1", "s2"}, {"s2", "s3"}}, away: errors.New("users is away")}
	store := documenttest.NewStore()
	n := replica(store, "a").notifications()
	deliver := func(e event.Event) error {
		d := n.deliverEvent()
		d.Staff = staff
		return d.Do(t.Context(), e)
	}
	if err := deliver(lowStock(1)); err == nil {
		t.Fatal("an event is handled although nobody knows whom it is for")
	}
	staff.away = nil
	for range 3 {
		if err := deliver(lowStock(1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := deliver(lowStock(2)); err != nil { // the staff has changed
		t.Fatal(err)
	}
	first, second := lowStock(1).ID, lowStock(2).ID
	for userID, want := range map[string][]string{"s1": {first}, "s2": {first, second}, "s3": {second}} {
		if got := eventsOf(t, n, userID); !slices.Equal(got, want) {
			t.Errorf("%s has %q; want %q", userID, got, want)
		}
	}
	if staff.asked != 2 {
		t.Errorf("users was asked %d times for 2 events", staff.asked)
	}
	decided, err := n.Decided(t.Context(), first, second, "products/stock/TEA/3")
	if err != nil || len(decided) != 2 || !slices.Equal(decided[second], []string{"s2", "s3"}) {
		t.Errorf("decided %v, %v", decided, err)
	}
}

// A crash at each operation on the store leaves some users without their entry. A repeat gives it to them, and to nobody twice.
func TestACrashAnywhereReachesEachUserOfAnAudienceOnce(t *testing.T) {
	for name, e := range map[string]event.Event{"staff": lowStock(1), "watchers": priceDrop(1, `["s1","s2","s3"]`)} {
		for _, lands := range []bool{false, true} {
			for crashes := 0; ; crashes++ {
				store, staff := documenttest.NewStore(), &crew{lists: [][]string{{"s1", "s2", "s3"}, {"s3", "s1", "s2"}}}
				p := replica(store, "mortal")
				p.Left, p.Lands = crashes+1, lands
				d := p.notifications().deliverEvent()
				d.Staff = staff
				_ = d.Do(t.Context(), e) // what the crash leaves behind is the point
				n := replica(store, "b").notifications()
				healthy := n.deliverEvent()
				healthy.Staff = staff
				for range 2 {
					if err := healthy.Do(t.Context(), e); err != nil {
						t.Fatal(err)
					}
				}
				of := map[string][]event.Event{"s1": {e}, "s2": {e}, "s3": {e}}
				if err := exactlyOnce(t.Context(), n, of); err != nil {
					t.Fatalf("%s, crash at operation %d: %v", name, crashes, err)
				}
				if !p.Crashed() {
					break
				}
			}
		}
	}
}

func TestACollectorTakesEventsForAudiences(t *testing.T) {
	p := replica(documenttest.NewStore(), "a")
	c, seen, stop := running(t, p.ports(), app.CollectorOptions{Interval: interval, Waiting: 100})
	first, second := priceDrop(1, `["u1","u2"]`), priceDrop(2, `["u3"]`)
	order := orderEvent("u1", 1, noon)
	push(t, c, first, order, second, first)
	stop()
	for _, e := range []event.Event{first, order, second} {
		if !seen.Has(e.ID) {
			t.Errorf("%s is not seen", e.ID)
		}
	}
	if err := exactlyOnce(t.Context(), p.notifications(), map[string][]event.Event{"u1": {first, order}, "u2": {first}, "u3": {second}}); err != nil {
		t.Error(err)
	}
	if err := c.Push(t.Context(), priceDrop(3, `[]`)); err == nil || event.Retriable(err) {
		t.Errorf("an event for nobody: %v", err)
	}
}
