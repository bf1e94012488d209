package app

import (
	"context"
	"fmt"
	"slices"

	"caravan/internal/document"
	"caravan/services/orders/domain"
)

// ListOrders lists the orders of a user.
type ListOrders struct {
	Orders *Orders
	Lists  UserOrders
}

// Do returns a page of the user's orders, newest first, and the next cursor.
func (u ListOrders) Do(ctx context.Context, userID, cursor string, limit int) ([]*domain.Order, string, error) {
	orders, next, err := document.Listed(ctx, u.Lists.chain, userID, cursor, limit, u.Orders,
		func(e Entry) string { return e.OrderID }, func(o *domain.Order, e Entry) bool { return e.Of(o) })
	if err != nil {
		return nil, "", fmt.Errorf("listing orders: %w", err)
	}
	// An order that was never accepted has an entry only.
	orders = slices.DeleteFunc(orders, func(o *domain.Order) bool { return o == nil })
	return orders, next, nil
}
