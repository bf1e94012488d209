package contract

import (
	"context"
	"fmt"

	"caravan/internal/invoke"
)

// FetchStatuses asks orders for the states of orders. The result has no entry for ids without an order.
func FetchStatuses(ctx context.Context, invoker invoke.Invoker, ids []string) (map[string]Status, error) {
	var out Statuses
	if err := invoker.Invoke(ctx, App, PathStatus, StatusRequest{OrderIDs: ids}, &out); err != nil {
		return nil, fmt.Errorf("asking for the states of %d orders: %w", len(ids), err)
	}
	return out.Statuses, nil
}
