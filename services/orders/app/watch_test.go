package app

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
)

// waitFor places an order in the background, with a wait.
func (s *shop) waitFor(t *testing.T, wait time.Duration) <-chan *domain.Order {
	placed := make(chan *domain.Order, 1)
	go func() {
		o, err := s.place.Do(t.Context(), Placement{
			UserID: "u1", Key: "k1", Fingerprint: "f1", Lines: []domain.Line{{SKU: "TEA", Quantity: 2}}, Wait: wait,
		})
		if err != nil {
			t.Error(err)
		}
		placed <- o
	}()
	return placed
}

// replica is the driver of another replica over the same store.
func (s *shop) replica() *Driver {
	orders := document.NewRepository[domain.Order](s.store, document.Options{Prefix: Prefix, Source: contract.App, Clock: s.clock, IDs: id.Random{}})
	return NewDriver(orders, s.driver.saga, s.clock, slog.New(slog.DiscardHandler), NewWatch(), s.driver.pace, s.driver.alarm, s.driver.meter)
}

// TestPlacingWaitsForTheEnd: the driver of this replica notifies the request. Nothing does if another replica drives the order, so the
// request reads it.
func TestPlacingWaitsForTheEnd(t *testing.T) {
	for name, driver := range map[string]func(s *shop) *Driver{
		"this replica":    func(s *shop) *Driver { return s.driver },
		"another replica": func(s *shop) *Driver { return s.replica() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop()
			stored := make(chan struct{}, 100)
			s.store.AfterPut(func(string, []byte) error { stored <- struct{}{}; return nil })
			placed := s.waitFor(t, time.Minute)
			<-stored // the order and
			<-stored // its entry in the list
			driver(s).drive(t.Context(), start{id: OrderID("u1", "k1")})
			if o := <-placed; o.Status != contract.Confirmed || types(o) != "placed reserved authorized capturing confirmed" {
				t.Fatalf("the order is %s after %s", o.Status, types(o))
			}
			again := <-s.waitFor(t, time.Minute) // a repeat
			if again.Status != contract.Confirmed || len(s.services.calls) != 4 {
				t.Errorf("a repeat finds the order %s, after the calls %v", again.Status, s.services.calls)
			}
		})
	}
}

// TestNobodyWaitsForARequestThatWasGivenUp: the wait ends with the request, also while this replica drives the order, when the loop needs
// no read that could fail.
func TestNobodyWaitsForARequestThatWasGivenUp(t *testing.T) {
	s := newShop()
	order := s.placeOne(t)
	s.driver.begin(start{id: order.ID, order: order})
	end := s.driver.Expect(order.ID)
	defer end.Forget()
	ctx, giveUp := context.WithCancel(t.Context())
	giveUp()
	if _, err := end.Await(ctx, order, s.clock.Now().Add(time.Hour)); !errors.Is(err, context.Canceled) {
		t.Errorf("the wait ended with %v", err)
	}
}

// TestPlacingWaitsNoLonger: an order that does not end, or cannot be read any more, is accepted all the same.
func TestPlacingWaitsNoLonger(t *testing.T) {
	s := newShop()
	stored := make(chan struct{}, 10)
	s.store.AfterPut(func(string, []byte) error { stored <- struct{}{}; return nil })
	placed := s.waitFor(t, time.Minute)
	<-stored // the wait has begun
	s.clock.Advance(2 * time.Minute)
	if o := <-placed; o.Status != contract.Placed {
		t.Errorf("after the wait the order is %s", o.Status)
	}
	if o := <-s.waitFor(t, 0); o.Status != contract.Placed {
		t.Errorf("without a wait the order is %s", o.Status)
	}
	reads := 0
	s.store.BeforeGet(func([]string) error {
		if reads++; reads > 2 { // the order and its list
			return errors.New("the store is unavailable")
		}
		return nil
	})
	if o := <-s.waitFor(t, time.Minute); o == nil || o.Status != contract.Placed {
		t.Errorf("when the order cannot be read: %+v", o)
	}
}
