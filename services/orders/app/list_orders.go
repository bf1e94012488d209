package app

import (
	"context"
	"fmt"

	"caravan/internal/document"
	"caravan/services/orders/domain"
)

// ListOrders reads a user's orders.
type ListOrders struct {
	Orders *Orders
	Lists  *document.Chain[Entry]
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
		if o := found[e.OrderID]; e.of(o) { // an entry without an order was never accepted
			orders = append(orders, o)
		}
	}
	return orders, next, nil
}
