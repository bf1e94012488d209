package app

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
)

// A frozen sidecar may write an order minutes after its entry, when its client has given up and no driver starts it.
func TestAnOrderThatIsWrittenLateIsFoundBySweep(t *testing.T) {
	o := newOffice()
	o.order(t, "first")
	late := id.Derive("order", "u1", "late")
	for _, key := range []string{o.orders.Key(late), o.orders.Key("never")} {
		if err := o.sweep.Index.Append(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	sweepFor := func(d time.Duration) {
		for range d / (10 * time.Second) {
			o.pass(10 * time.Second)
			if err := o.sweep.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	sweepFor(4 * time.Minute)
	o.place.Orders = document.NewRepository[domain.Order](o.store, document.Options{Prefix: Prefix, Source: contract.App, Clock: o.clock, IDs: id.Random{}})
	o.services.answer["reserve"] = errAway
	o.order(t, "late") // without an entry of its own
	sweepFor(2 * time.Minute)
	if got := o.list(t, OrderFilter{Stalled: true}, 100); len(got) != 1 || got[0].ID != late {
		t.Errorf("%d orders are found: %+v", len(got), got)
	}
	delete(o.services.answer, "reserve")
	o.driven(t, late)
	sweepFor(20 * time.Minute)
	before := len(o.store.Keys())
	sweepFor(20 * time.Minute)
	if after := len(o.store.Keys()); after != before {
		t.Errorf("what is never written is still looked for: %d documents, then %d", before, after)
	}
	var flood errgroup.Group // of a store that was overloaded
	for i := range 2 * feed.UnwrittenMost {
		flood.Go(func() error { return o.sweep.Index.Append(t.Context(), o.orders.Key(fmt.Sprint("flood-", i))) })
	}
	if err := flood.Wait(); err != nil {
		t.Fatal(err)
	}
	sweepFor(20 * time.Minute)
	before = len(o.store.Keys())
	sweepFor(20 * time.Minute)
	if after := len(o.store.Keys()); after != before || o.sweep.Unwritten() > feed.UnwrittenMost {
		t.Errorf("a flood goes on: %d documents, then %d; %d orders are remembered", before, after, o.sweep.Unwritten())
	}
}

// TestASweptOrderIsListed has the program that places an order stop before it writes the entry, and a user who never repeats
// the request.
func TestASweptOrderIsListed(t *testing.T) {
	o := newOffice()
	dying, cancel := context.WithCancel(t.Context())
	var died atomic.Bool
	stored := make(chan struct{})
	o.store.AfterPut(func(key string, _ []byte) error {
		if strings.HasPrefix(key, Prefix) && !died.Load() {
			close(stored)
		}
		return nil
	})
	o.store.BeforePut(func(key string, _ []byte) error {
		if strings.HasPrefix(key, "orders-of/") && !died.Load() {
			<-stored
			died.Store(true)
			cancel()
			<-t.Context().Done() // it never gets there
			return t.Context().Err()
		}
		return nil
	})
	if _, err := o.place.Do(dying, Placement{UserID: "u1", Key: "one", Fingerprint: "one", Lines: []domain.Line{{SKU: "TEA", Quantity: 2}}}); err == nil {
		t.Fatal("the order was accepted")
	}
	o.sweep.Lists = NewUserOrders(o.store, document.Options{Clock: o.clock, IDs: id.Random{}}) // of another process
	placed := OrderID("u1", "one")
	if _, _, err := o.sweep.start(t.Context(), []string{Prefix + placed}); err != nil {
		t.Fatal(err)
	}
	if order := o.driven(t, placed); order.Status != contract.Confirmed {
		t.Fatalf("the order is %s", order.Status)
	}
	orders, next, err := ListOrders{Orders: o.orders, Lists: o.sweep.Lists}.Do(t.Context(), "u1", "", 10)
	if err != nil || next != "" || len(orders) != 1 || orders[0].ID != placed {
		t.Errorf("the list is %v, %v", orders, err)
	}
}
