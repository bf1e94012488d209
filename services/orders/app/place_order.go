package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/internal/clock"
	"caravan/internal/money"
	"caravan/services/orders/domain"
)

// PlaceOrder accepts orders.
type PlaceOrder struct {
	Orders *Orders
	Lists  UserOrders
	Driver *Driver
	Clock  clock.Clock
	// Deadline is how long an order may try before the pivot.
	Deadline time.Duration
}

// Placement is a request to place an order.
type Placement struct {
	UserID string
	// Key is the client's Idempotency-Key. Fingerprint identifies its request.
	Key, Fingerprint string
	Lines            []domain.Line
	ExpectedTotal    *money.Money
	// Wait is how long Do waits for the end of the order.
	Wait time.Duration
}

// Do stores the order, hands it to the saga and returns it, at its end if that comes within the wait. It writes the entry in
// the user's list at the same time as the order: readers skip an entry without an order. Errors: domain.ErrFingerprint.
func (u PlaceOrder) Do(ctx context.Context, p Placement) (*domain.Order, error) {
	orderID := OrderID(p.UserID, p.Key)
	now := u.Clock.Now()
	end := u.Driver.Expect(orderID)
	defer end.Forget()
	listing, listCtx := errgroup.WithContext(ctx)
	var fresh sync.Once
	repeat := false
	order, err := u.Orders.Update(ctx, orderID, func(o *domain.Order) error {
		if repeat = o.Exists(); !repeat {
			fresh.Do(func() {
				listing.Go(func() error { return u.Lists.Add(listCtx, p.UserID, Entry{OrderID: orderID, At: now}) })
			})
		}
		return o.Place(orderID, p.UserID, p.Key, p.Fingerprint, p.Lines, p.ExpectedTotal, now, u.Deadline)
	})
	if listed := listing.Wait(); err == nil {
		err = listed
	}
	if err == nil && repeat {
		err = u.Lists.ensure(ctx, order)
	}
	if err != nil {
		return nil, fmt.Errorf("placing order: %w", err)
	}
	if !order.Status.Terminal() {
		u.Driver.StartStored(ctx, order)
	}
	if ended, err := end.Await(ctx, order, now.Add(p.Wait)); err == nil {
		return ended, nil
	}
	return order, nil // it is accepted, although its end cannot be read
}
