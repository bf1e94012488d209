package app

import (
	"context"
	"fmt"
	"time"

	"caravan/internal/document"
	"caravan/services/orders/domain"
)

// UserOrders lists the orders of each user, newest first.
type UserOrders struct{ chain *document.Chain[Entry] }

// NewUserOrders makes a UserOrders over a store.
func NewUserOrders(store document.Store, options document.Options) UserOrders {
	return UserOrders{document.NewChain[Entry](store, "orders-of/", 50, options).Shorten(listSegment)}
}

// Entry is an order in the list of its user. An attempt to place an order that fails leaves an entry, too, and may be
// repeated after many other orders. So an entry belongs to an order only if it has the time at which the order was placed.
type Entry struct {
	OrderID string `json:"orderId"`
	// At is when the order was placed.
	At time.Time `json:"at"`
}

// Of reports whether the entry belongs to an order, which may be nil.
func (e Entry) Of(order *domain.Order) bool {
	return order != nil && e.OrderID == order.ID && e.At.Equal(order.PlacedAt)
}

// Page returns up to limit entries of a user from a cursor on, and the cursor of the next page or "".
func (l UserOrders) Page(ctx context.Context, userID, cursor string, limit int) ([]Entry, string, error) {
	return l.chain.Page(ctx, userID, cursor, limit)
}

// Add puts an entry in front of a user's list, once.
func (l UserOrders) Add(ctx context.Context, userID string, e Entry) error {
	return l.chain.Prepend(ctx, userID, e.OrderID+" "+e.At.UTC().Format(time.RFC3339Nano), e)
}

const (
	// listSegment is the number of entries in one segment. Each order writes the head of its user's list, which has up to
	// twice as many.
	listSegment = 16
	// listSkew is by how much the times of neighbours in a list may be out of order.
	listSkew = time.Minute
	// listPage is how many entries are read at once.
	listPage = 100
)

// Has reports whether an order is in its user's list. It looks back to when the order was placed, however many orders came
// after it, as a second entry would show the order twice.
func (l UserOrders) Has(ctx context.Context, order *domain.Order) (bool, error) {
	for cursor := ""; ; {
		entries, next, err := l.Page(ctx, order.UserID, cursor, listPage)
		if err != nil {
			return false, fmt.Errorf("looking for an order in its list: %w", err)
		}
		for _, e := range entries {
			switch {
			case e.Of(order):
				return true, nil
			case e.At.Before(order.PlacedAt.Add(-listSkew)):
				next = ""
			}
		}
		if cursor = next; cursor == "" {
			return false, nil
		}
	}
}

// ensure adds an order that was placed before to its user's list if it is missing: the program that placed it may have
// stopped before it wrote the entry.
func (l UserOrders) ensure(ctx context.Context, order *domain.Order) error {
	there, err := l.Has(ctx, order)
	if err != nil || there {
		return err
	}
	return l.Add(ctx, order.UserID, Entry{OrderID: order.ID, At: order.PlacedAt})
}
