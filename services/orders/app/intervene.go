package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/internal/problem"
	"caravan/services/orders/domain"
)

// Intervention is a request of staff about one order.
type Intervention struct {
	OrderID string
	// By is the member of staff, Reason why, in their words.
	By, Reason string
	// Key is the client's Idempotency-Key, which may be empty.
	Key string
}

func (u Operate) intervention(in Intervention) domain.Intervention {
	operation := u.IDs.New()
	if in.Key != "" {
		operation = id.Derive("intervention", in.OrderID, in.By, in.Key)
	}
	return domain.Intervention{Operation: operation, By: in.By, Note: in.Reason}
}

// Retry has a waiting order tried again at once. One that does not wait is handed to the driver, too: it may have been
// lost by the one that had it. Errors: document.ErrNotFound; a problem order-ended.
func (u Operate) Retry(ctx context.Context, in Intervention) (*domain.Order, error) {
	order, err := u.intervene(ctx, in, "order.retried", (*domain.Order).Retry)
	switch {
	case errors.Is(err, domain.ErrEnded):
		return nil, problem.Conflict("order-ended", "The order has already ended.")
	case err != nil:
		return nil, fmt.Errorf("retrying order %s: %w", in.OrderID, err)
	}
	return order, nil
}

// Cancel ends an order before the pivot; the saga gives back what it holds. It is idempotent. Errors:
// document.ErrNotFound; a problem order-past-cancelling, which names the refund, or order-ended.
func (u Operate) Cancel(ctx context.Context, in Intervention) (*domain.Order, error) {
	order, err := u.intervene(ctx, in, "order.cancelled", (*domain.Order).CancelBy)
	if err != nil {
		return nil, cancelProblem(in.OrderID, err)
	}
	return order, nil
}

// transition is what an intervention does to an order.
type transition = func(o *domain.Order, i domain.Intervention, now time.Time) error

// intervene changes an order, has it driven on, and leaves the trace that an audit follows.
func (u Operate) intervene(ctx context.Context, in Intervention, action string, apply transition) (*domain.Order, error) {
	i, changed := u.intervention(in), false
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
