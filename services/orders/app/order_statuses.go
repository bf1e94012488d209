package app

import (
	"context"
	"fmt"

	"caravan/services/orders/contract"
)

// OrderStatuses reports the states of orders to other services.
type OrderStatuses struct{ Orders *Orders }

// Do returns the states of those orders that exist.
func (u OrderStatuses) Do(ctx context.Context, asked contract.StatusRequest) (contract.Statuses, error) {
	found, err := u.Orders.GetMany(ctx, asked.OrderIDs...)
	if err != nil {
		return contract.Statuses{}, fmt.Errorf("reading states of orders: %w", err)
	}
	out := contract.Statuses{Statuses: make(map[string]contract.Status, len(found))}
	for id, o := range found {
		out.Statuses[id] = o.Status
	}
	return out, nil
}
