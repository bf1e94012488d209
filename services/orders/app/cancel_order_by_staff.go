package app

import (
	"context"
	"fmt"

	"caravan/services/orders/domain"
)

// CancelOrderByStaff lets staff end an order before the pivot, and keeps who did it and why.
type CancelOrderByStaff struct{ Interventions }

// Do cancels the order, and the saga gives back what it holds. It is idempotent. Errors: document.ErrNotFound,
// domain.ErrEnded, *domain.PastPivotError.
func (u CancelOrderByStaff) Do(ctx context.Context, in Intervention) (*domain.Order, error) {
	order, err := u.do(ctx, in, "order.cancelled", (*domain.Order).CancelBy)
	if err != nil {
		return nil, fmt.Errorf("cancelling order %s: %w", in.OrderID, err)
	}
	return order, nil
}
