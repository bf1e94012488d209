package app

import (
	"context"
	"fmt"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/services/orders/domain"
)

// ShowOrder reads one order.
type ShowOrder struct {
	Orders *Orders
	Driver *Driver
	Clock  clock.Clock
}

// Do returns the order. With a wait it returns when the order has ended, or the order as it is when the wait is over.
// Errors: document.ErrNotFound, also for an order of another user.
func (u ShowOrder) Do(ctx context.Context, v Viewer, id string, wait time.Duration) (*domain.Order, error) {
	end := u.Driver.Expect(id)
	defer end.Forget()
	read := u.Orders.Get
	if wait > 0 {
		read = u.Driver.current
	}
	order, err := read(ctx, id)
	if err != nil {
		return nil, err
	}
	if !v.may(order) {
		return nil, fmt.Errorf("order %s of another user: %w", id, document.ErrNotFound)
	}
	return end.Await(ctx, order, u.Clock.Now().Add(wait))
}
