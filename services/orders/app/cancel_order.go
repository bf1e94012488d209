package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/problem"
	"caravan/services/orders/domain"
)

// CancelOrder ends an order before the pivot.
type CancelOrder struct {
	Orders *Orders
	Driver *Driver
	Clock  clock.Clock
}

// Do asks for the order to be cancelled; the saga gives back what it holds. It
// is idempotent.
func (u CancelOrder) Do(ctx context.Context, v Viewer, id string) (*domain.Order, error) {
	reason := domain.ReasonCustomer
	order, err := u.Orders.Update(ctx, id, func(o *domain.Order) error {
		if !o.Exists() || !v.may(o) {
			return document.ErrNotFound
		}
		if o.UserID != v.UserID {
			reason = domain.ReasonStaff
		}
		return o.Cancel(reason, u.Clock.Now())
	})
	switch {
	case errors.Is(err, domain.ErrPastPivot):
		return nil, problem.Conflict("order-past-cancelling", "The order is paid or about to be; ask for a refund instead.")
	case errors.Is(err, domain.ErrEnded):
		return nil, problem.Conflict("order-ended", "The order has already ended.")
	case err != nil:
		return nil, fmt.Errorf("cancelling order %s: %w", id, err)
	}
	u.Driver.Start(ctx, id)
	return order, nil
}
