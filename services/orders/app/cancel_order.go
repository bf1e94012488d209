package app

import (
	"context"
	"fmt"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/services/orders/domain"
)

// CancelOrder ends an order before the pivot.
type CancelOrder struct {
	Orders *Orders
	Driver *Driver
	Clock  clock.Clock
}

// Do cancels the order, and the saga gives back what it holds. It is idempotent. Errors: document.ErrNotFound,
// domain.ErrEnded, *domain.PastPivotError.
func (u CancelOrder) Do(ctx context.Context, v Viewer, id string) (*domain.Order, error) {
	order, err := u.Orders.Update(ctx, id, func(o *domain.Order) error {
		switch {
		case !o.Exists() || !v.may(o):
			return document.ErrNotFound
		case o.UserID != v.UserID:
			return o.CancelBy(domain.Intervention{By: v.UserID}, u.Clock.Now())
		}
		return o.Cancel(u.Clock.Now())
	})
	if err != nil {
		return nil, fmt.Errorf("cancelling order %s: %w", id, err)
	}
	u.Driver.Start(ctx, id)
	return order, nil
}
