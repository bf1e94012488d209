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
		return nil, cancelProblem(id, err)
	}
	u.Driver.Start(ctx, id)
	return order, nil
}

// cancelProblem says what can be done instead.
func cancelProblem(id string, err error) error {
	switch {
	case errors.Is(err, domain.ErrPastPivot):
		return problem.Conflict("order-past-cancelling",
			"The order is paid or about to be. Ask for a refund instead, once it is confirmed: POST /v1/orders/"+id+"/refund.")
	case errors.Is(err, domain.ErrEnded):
		return problem.Conflict("order-ended", "The order has already ended.")
	}
	return fmt.Errorf("cancelling order %s: %w", id, err)
}
