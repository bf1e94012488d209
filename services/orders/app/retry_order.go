package app

import (
	"context"
	"fmt"

	"caravan/services/orders/domain"
)

// RetryOrder lets staff retry a waiting order at once.
type RetryOrder struct{ Interventions }

// Do makes the next attempt of a waiting order due now. An order that does not wait is handed to the saga, too: the replica
// that drove it may have lost it. Errors: document.ErrNotFound, domain.ErrEnded.
func (u RetryOrder) Do(ctx context.Context, in Intervention) (*domain.Order, error) {
	order, err := u.do(ctx, in, "order.retried", (*domain.Order).Retry)
	if err != nil {
		return nil, fmt.Errorf("retrying order %s: %w", in.OrderID, err)
	}
	return order, nil
}
