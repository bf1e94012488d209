package adapters

import (
	"context"

	"caravan/internal/invoke"
	orders "caravan/services/orders/contract"
)

// Orders asks the orders service how orders stand.
type Orders struct{ Invoker invoke.Invoker }

// Statuses returns the status of each order that exists.
func (o Orders) Statuses(ctx context.Context, orderIDs []string) (map[string]string, error) {
	found, err := orders.FetchStatuses(ctx, o.Invoker, orderIDs)
	if err != nil {
		return nil, err
	}
	statuses := make(map[string]string, len(found))
	for id, status := range found {
		statuses[id] = string(status)
	}
	return statuses, nil
}
