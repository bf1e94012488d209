package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"caravan/services/products/domain"
)

const (
	// sweepPage is how many SKUs are read at once when all are visited.
	sweepPage = 100
	// sweepOrders is how many orders of one SKU are asked for at once.
	sweepOrders = 100
	// extension is how much longer an overdue reservation is kept when its order needs it or cannot be asked for.
	extension = 5 * time.Minute
)

// hasEnded reports whether an order of this status will never need its stock again. An order that is being cancelled
// releases its stock itself. A confirmed one has committed it.
func hasEnded(status string) bool { return status == "rejected" || status == "cancelled" }

// Orders reports how orders stand.
type Orders interface {
	// Statuses returns the statuses by order id. An order that does not exist is absent.
	Statuses(ctx context.Context, orderIDs []string) (map[string]string, error)
}

// Sweep releases reservations that no order needs any more.
type Sweep struct {
	Shop   *Shop
	Orders Orders
	Log    *slog.Logger
}

// Run visits every stock once. It releases a reservation whose deadline has passed if orders reports that the order has
// ended without being confirmed, or that there is no such order. In every other case, and if orders does not answer, the
// reservation stays, because the order may have been paid.
func (u Sweep) Run(ctx context.Context) error {
	s := u.Shop
	return s.visit(ctx, func(skus []string) error {
		levels, err := s.documents.levels.GetMany(ctx, skus...)
		if err != nil {
			return fmt.Errorf("looking for overdue reservations: %w", err)
		}
		now := s.clock.Now().UnixMicro()
		for _, sku := range skus {
			if stock, ok := levels[sku]; ok && stock.NextExpiry > 0 && stock.NextExpiry <= now {
				if err := u.stock(ctx, sku); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// visit calls page with all listed SKUs, page by page. If a page fails, its SKUs are visited one by one.
func (s *Shop) visit(ctx context.Context, page func(skus []string) error) error {
	seen, err := s.index.current(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for after := ""; ; {
		skus := seen.SKUs(after, sweepPage)
		if len(skus) == 0 {
			return errors.Join(failures...)
		}
		if page(skus) != nil {
			failed, unavailable := oneByOne(skus, page)
			if failures = append(failures, failed...); unavailable {
				return errors.Join(failures...)
			}
		}
		after = skus[len(skus)-1]
	}
}

// inARow is how many SKUs have to fail one after the other until the store is taken to be unavailable.
const inARow = 3

// oneByOne visits the SKUs of a page that failed. It stops if the store is unavailable.
func oneByOne(skus []string, page func(skus []string) error) (failures []error, unavailable bool) {
	row := 0
	for _, sku := range skus {
		err := page([]string{sku})
		if err == nil {
			row = 0
			continue
		}
		failures = append(failures, fmt.Errorf("%s: %w", sku, err))
		if row++; row == inARow {
			return failures, true
		}
	}
	return failures, false
}

func (u Sweep) stock(ctx context.Context, sku string) error {
	s := u.Shop
	stock, err := s.documents.Stocks.Get(ctx, sku)
	if err != nil {
		return fmt.Errorf("reading the overdue reservations of %s: %w", sku, err)
	}
	overdue := stock.Overdue(s.clock.Now(), sweepOrders)
	if len(overdue) == 0 {
		return nil
	}
	ended, open := u.ask(ctx, sku, overdue)
	var released []domain.Hold
	stock, err = s.documents.Stocks.Update(ctx, sku, func(d *domain.Stock) error {
		released = d.Settle(ended, open, s.clock.Now().Add(extension))
		s.documents.checkLow(d, false)
		return nil
	})
	if err != nil {
		return fmt.Errorf("settling the overdue reservations of %s: %w", sku, err)
	}
	s.cache.putLevel(stock)
	for _, hold := range released {
		u.Log.InfoContext(ctx, "reservation expired", "sku", sku, "order_id", hold.OrderID, "quantity", hold.Quantity)
	}
	return nil
}

// ask divides the orders of overdue holds into those that have ended and those that may still need their units.
func (u Sweep) ask(ctx context.Context, sku string, overdue []domain.Hold) (ended, open []string) {
	ids := make([]string, len(overdue))
	for i, hold := range overdue {
		ids[i] = hold.OrderID
	}
	statuses, err := u.Orders.Statuses(ctx, ids)
	if err != nil {
		u.Log.WarnContext(ctx, "overdue reservations are kept: orders does not answer whether they are needed",
			"sku", sku, "reservations", len(ids), slog.Any("error", err))
		return nil, ids
	}
	for _, id := range ids {
		if status, known := statuses[id]; !known || hasEnded(status) {
			ended = append(ended, id)
		} else {
			open = append(open, id)
		}
	}
	return ended, open
}
