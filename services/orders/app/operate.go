package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"caravan/internal/clock"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
)

// Operate is what staff see and do across all orders.
type Operate struct {
	Orders *Orders
	Reader *feed.Reader
	Driver *Driver
	Sweep  *Sweep
	Clock  clock.Clock
	IDs    id.Source
	Log    *slog.Logger
}

// scanLimit bounds the orders that one request looks through.
const scanLimit = 2000

// ByStatus returns orders in a state (any, when empty), oldest first, by walking
// the service's feed from a cursor. A page may hold fewer than limit orders
// although more follow: the walk of one request is bounded.
func (u Operate) ByStatus(ctx context.Context, status contract.Status, cursor string, limit int) ([]*domain.Order, string, error) {
	at, err := feed.ParseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	var found []*domain.Order
	seen := make(map[string]bool)
	began := u.Clock.Now()
	for scanned := 0; scanned < scanLimit && len(found) < limit && u.Clock.Now().Sub(began) < walkTime; {
		keys, err := u.Reader.Keys(ctx, at, limit, -u.Reader.Ahead())
		if err != nil {
			return nil, "", fmt.Errorf("walking orders: %w", err)
		}
		for _, b := range keys.Buckets {
			orders, err := u.read(ctx, b.Keys)
			if err != nil {
				return nil, "", err
			}
			scanned += len(orders)
			for _, o := range orders {
				if !seen[o.ID] && (status == "" || o.Status == status) {
					seen[o.ID] = true
					found = append(found, o)
				}
			}
		}
		if at = keys.Next; keys.End {
			return found, "", nil
		}
	}
	return found, at.String(), nil
}

// read returns the orders under keys of the feed.
func (u Operate) read(ctx context.Context, keys []string) ([]*domain.Order, error) {
	ids := make([]string, 0, len(keys))
	for _, k := range keys {
		if id, ok := strings.CutPrefix(k, Prefix); ok {
			ids = append(ids, id)
		}
	}
	found, err := u.Orders.GetMany(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("reading orders: %w", err)
	}
	orders := make([]*domain.Order, 0, len(found))
	for _, id := range ids {
		if o, ok := found[id]; ok {
			orders = append(orders, o)
		}
	}
	return orders, nil
}

// Statuses returns the states of orders; ids without an order are absent.
func (u Operate) Statuses(ctx context.Context, ids []string) (map[string]contract.Status, error) {
	found, err := u.Orders.GetMany(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("reading states of orders: %w", err)
	}
	states := make(map[string]contract.Status, len(found))
	for id, o := range found {
		states[id] = o.Status
	}
	return states, nil
}
