package app

import (
	"context"
	"fmt"

	"caravan/internal/feed"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
)

// Sweep finds orders that have stopped on their way, after a crash, a lost start or with a full queue. See feed.Sweep.
type Sweep struct {
	*feed.Sweep
	Orders *Orders
	Lists  UserOrders
	Driver *Driver
}

// NewSweep makes a Sweep, which completes in. The name and Start are its own.
func NewSweep(orders *Orders, lists UserOrders, driver *Driver, in *feed.Sweep) *Sweep {
	s := &Sweep{Sweep: in, Orders: orders, Lists: lists, Driver: driver}
	s.Name, s.Start = "orders", s.start
	return s
}

// start hands the unfinished orders among keys to the driver. It returns their keys and those without an order.
func (s *Sweep) start(ctx context.Context, keys []string) (unfinished, unwritten []string, err error) {
	ids := OrderIDs(keys)
	orders, err := s.Orders.GetMany(ctx, ids...)
	if err != nil {
		return nil, nil, fmt.Errorf("reading swept orders: %w", err)
	}
	for _, orderID := range ids {
		o, ok := orders[orderID]
		if !ok {
			unwritten = append(unwritten, s.Orders.Key(orderID))
			continue
		}
		if !o.Status.Terminal() {
			if err := s.enlist(ctx, o); err != nil {
				return nil, nil, err
			}
			s.Driver.Start(cause(ctx, o), o.ID)
			unfinished = append(unfinished, s.Orders.Key(o.ID))
		}
	}
	return unfinished, unwritten, nil
}

// enlist adds an order that was never driven to its user's list if it is missing: the program that placed it may have stopped
// before it wrote the entry, and its user may never repeat the request.
func (s *Sweep) enlist(ctx context.Context, o *domain.Order) error {
	if o.Status != contract.Placed || o.Waiting != nil {
		return nil
	}
	return s.Lists.ensure(ctx, o)
}
