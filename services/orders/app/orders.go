package app

import (
	"context"
	"strings"

	"caravan/internal/correlation"
	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/orders/domain"
)

// Orders is the repository of orders.
type Orders = document.Repository[domain.Order, *domain.Order]

// Prefix starts the key of every order document.
const Prefix = "order/"

// OrderID is the id of the order that a user places under an Idempotency-Key. A repeat finds the same document, whatever
// else was lost.
func OrderID(userID, key string) string { return id.Derive("order", userID, key) }

// OrderIDs returns the ids of the orders among keys of the feed.
func OrderIDs(keys []string) []string {
	ids := make([]string, 0, len(keys))
	for _, key := range keys {
		if orderID, ok := strings.CutPrefix(key, Prefix); ok {
			ids = append(ids, orderID)
		}
	}
	return ids
}

// Viewer is who asks for an order.
type Viewer struct {
	UserID string
	// Any is set for staff who may see every order.
	Any bool
}

func (v Viewer) may(o *domain.Order) bool { return v.Any || o.UserID == v.UserID }

// cause is ctx with the correlation id and the trace of the request that changed an order last.
func cause(ctx context.Context, o *domain.Order) context.Context {
	if len(o.Timeline) == 0 {
		return ctx
	}
	last := o.Timeline[len(o.Timeline)-1]
	return correlation.Remote(ctx, last.CorrelationID, last.TraceParent)
}
