package app

import (
	"context"
	"fmt"

	"caravan/services/orders/domain"
)

// ListOrders lists the orders of a user.
type ListOrders struct {
	Orders *Orders
	Lists  UserOrders
}

// Do returns a page of the user's orders, newest first, and the next cursor.
func (u ListOrders) Do(ctx context.Context, userID, cursor string, limit int) ([]*domain.Order, string, error) {
	entries, next, err := u.Lists.Page(ctx, userID, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.OrderID
	}
	found, err := u.Orders.GetMany(ctx, ids...)
	if err != nil {
		return nil, "", fmt.Errorf("reading listed orders: %w", err)
	}
	orders := make([]*domain.Order, 0, len(ids))
	for _, e := range entries {
		if o := found[e.OrderID]; e.Of(o) { // an order that was never accepted has an entry only
			orders = append(orders, o)
		}
	}
	return orders, next, nil
}
