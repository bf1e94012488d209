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

// ended are the statuses of orders that will never need their stock again. An order that is being cancelled releases
// its stock itself; one that was confirmed has committed it.
func ended(status string) bool { return status == "rejected" || status == "cancelled" }

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

// visit walks over all listed SKUs in pages. A SKU that fails does not keep it from the others.
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
			failed, away := oneByOne(skus, page)
			if failures = append(failures, failed...); away {
				return errors.Join(failures...)
			}
		}
		after = skus[len(skus)-1]
	}
}

// inARow is how many SKUs that fail one after the other mean that the store is away.
const inARow = 3

// oneByOne visits the SKUs of a page that failed, and stops when the store is away.
func oneByOne(skus []string, page func(skus []string) error) (failures []error, away bool) {
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
	dead, alive := u.ask(ctx, sku, overdue)
	var released []domain.Hold
	stock, err = s.documents.Stocks.Update(ctx, sku, func(d *domain.Stock) error {
		released = d.Settle(dead, alive, s.clock.Now().Add(extension))
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

// ask divides the orders of overdue holds by whether they still need their units.
func (u Sweep) ask(ctx context.Context, sku string, overdue []domain.Hold) (dead, alive []string) {
	ids := make([]string, len(overdue))
	for i, hold := range overdue {
		ids[i] = hold.OrderID
	}
	statuses, err := u.Orders.Statuses(ctx, ids)
	if err != nil {
		u.Log.WarnContext(ctx, "orders does not tell whether overdue reservations are needed; keeping them",
			"sku", sku, "reservations", len(ids), slog.Any("error", err))
		return nil, ids
	}
	for _, id := range ids {
		if status, known := statuses[id]; !known || ended(status) {
			dead = append(dead, id)
		} else {
			alive = append(alive, id)
		}
	}
	return dead, alive
}
