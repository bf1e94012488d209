package app

import (
	"context"
	"log/slog"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/orders/domain"
)

// Interventions are the common part of the use cases in which staff change an order.
type Interventions struct {
	Orders *Orders
	Driver *Driver
	Clock  clock.Clock
	IDs    id.Source
	Log    *slog.Logger
}

// Intervention is a request of staff about one order.
type Intervention struct {
	OrderID string
	// By is the member of staff. Reason is the reason they gave.
	By, Reason string
	// Key is the client's Idempotency-Key, which may be empty.
	Key string
}

// transition is what an intervention does to an order.
type transition = func(o *domain.Order, i domain.Intervention, now time.Time) error

// do changes an order, hands it to the saga, and writes the log line that shows who did what.
func (u Interventions) do(ctx context.Context, in Intervention, action string, apply transition) (*domain.Order, error) {
	i, changed := domain.Intervention{Operation: u.IDs.New(), By: in.By, Note: in.Reason}, false
	if in.Key != "" {
		i.Operation = id.Derive("intervention", in.OrderID, in.By, in.Key)
	}
	order, err := u.Orders.Update(ctx, in.OrderID, func(o *domain.Order) error {
		if !o.Exists() {
			return document.ErrNotFound
		}
		err := apply(o, i, u.Clock.Now())
		changed = err == nil
		return err
	})
	if err != nil {
		return nil, err
	}
	if changed {
		u.Log.InfoContext(ctx, "audit", "action", action, "actor", i.By, "reason", i.Note, "operation", i.Operation,
			"aggregate", order.ID, "status", order.Status)
	}
	if !order.Status.Terminal() {
		u.Driver.Start(cause(ctx, order), order.ID)
	}
	return order, nil
}
