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
	Watch  *Watch
	Driver *Driver
	Clock  clock.Clock
}

// pollEvery is how often a waiting request reads an order that another replica may work on.
const pollEvery = 250 * time.Millisecond

// Do returns the order. With a wait it returns when the order has ended, or the order as it is when the wait is over.
// Errors: document.ErrNotFound, also for an order of another user.
func (u ShowOrder) Do(ctx context.Context, v Viewer, id string, wait time.Duration) (*domain.Order, error) {
	ended, forget := u.Watch.Ended(id)
	defer forget()
	order, err := u.current(ctx, v, id, wait > 0)
	if err != nil || wait <= 0 {
		return order, err
	}
	until := u.Clock.Now().Add(wait)
	for !order.Status.Terminal() && u.Clock.Now().Before(until) {
		polled, cancel := context.WithTimeout(ctx, pollEvery)
		select {
		case order = <-ended:
		case <-polled.Done():
			order, err = u.read(ctx, v, id)
		}
		cancel()
		if err != nil {
			return nil, err
		}
	}
	return order, nil
}

// current is the order now. A request that waits needs no read while this replica works on the order.
func (u ShowOrder) current(ctx context.Context, v Viewer, id string, waiting bool) (*domain.Order, error) {
	if order, ok := u.Driver.AtWork(id); ok && waiting && v.may(order) {
		return order, nil
	}
	return u.read(ctx, v, id)
}

func (u ShowOrder) read(ctx context.Context, v Viewer, id string) (*domain.Order, error) {
	order, err := u.Orders.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if !v.may(order) {
		return nil, fmt.Errorf("order %s of another user: %w", id, document.ErrNotFound)
	}
	return order, nil
}
