// Package app holds the use cases of orders, the saga that brings each order to its end, and the sweep that finds orders that
// have stopped on their way.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel"

	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/document"
	"caravan/internal/invoke"
	"caravan/internal/workqueue"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
)

// The limits of the driver.
const (
	maxDriving = 512   // orders driven at once
	maxQueued  = 16384 // orders that wait to be driven; the sweep finds the others

	dueTick = 100 * time.Millisecond // how often the driver looks for orders that are due
)

// Driver takes orders through the saga. Any number of drivers in any number of replicas may work on one order: its document
// decides by compare-and-swap.
type Driver struct {
	orders *Orders
	saga   Saga
	clock  clock.Clock
	log    *slog.Logger
	watch  *Watch
	pace   Pace
	alarm  *Alarm
	meter  Meter

	work   *workqueue.Queue[start]
	mu     sync.Mutex
	active map[string]*domain.Order // orders being driven, as last stored here; nil before they are read
}

// Outcomes of an attempt of a step, for the Meter.
const (
	StepAnswered = "answered"
	StepNoAnswer = "no_answer"
)

// stepCompensate is the name of the step that undoes all others, for the Meter.
const stepCompensate = "compensate"

// Meter counts what a Driver does.
type Meter interface {
	// Stepped counts an attempt of a step.
	Stepped(ctx context.Context, step, outcome string, took time.Duration)
	// Reached counts an order that got another status.
	Reached(ctx context.Context, status contract.Status)
}

// start asks for an order to be driven, in the context of what caused it.
type start struct {
	id            string
	order         *domain.Order // as just stored, if it is known
	correlationID string
	traceParent   string
}

// NewDriver makes a Driver. It works while Run runs.
func NewDriver(orders *Orders, saga Saga, clk clock.Clock, log *slog.Logger, watch *Watch, pace Pace, alarm *Alarm, meter Meter) *Driver {
	d := &Driver{
		orders: orders, saga: saga, clock: clk, log: log, watch: watch, pace: pace, alarm: alarm, meter: meter, active: make(map[string]*domain.Order),
	}
	d.work = workqueue.New(workqueue.Options[start]{
		Do: func(stop context.Context, _ string, s start) { d.drive(stop, s) }, Merge: start.with,
		Clock: clk, Workers: maxDriving, Room: maxQueued, Tick: dueTick,
	})
	return d
}

// Start asks for an order to be driven soon. It never waits: the sweep finds an order for which there is no room.
func (d *Driver) Start(ctx context.Context, id string) { d.queue(ctx, start{id: id}) }

// StartStored is Start for an order that was just written. It saves a read.
func (d *Driver) StartStored(ctx context.Context, order *domain.Order) {
	d.queue(ctx, start{id: order.ID, order: order})
}

func (d *Driver) queue(ctx context.Context, s start) {
	s.correlationID, s.traceParent = correlation.ID(ctx), correlation.Traceparent(ctx)
	d.work.Add(s.id, s)
}

// with is one start for two: the order is read.
func (start) with(later start) start {
	later.order = nil
	return later
}

// later has an order driven at a time.
func (d *Driver) later(s start, at time.Time) {
	s.order = nil
	d.work.AddAt(s.id, s, at)
}

// Run drives orders until ctx ends. Then it finishes the steps under way.
func (d *Driver) Run(ctx context.Context) error { return d.work.Run(ctx) }

// AtWork returns an order that this driver is driving, as it last stored it.
func (d *Driver) AtWork(id string) (*domain.Order, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	order := d.active[id]
	return order, order != nil
}

func (d *Driver) stored(order *domain.Order) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, busy := d.active[order.ID]; busy {
		d.active[order.ID] = order
	}
}

// begin and end say which orders are being driven.
func (d *Driver) begin(s start) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active[s.id] = s.order
}

func (d *Driver) end(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.active, id)
}

// drive takes one order as far as possible: to its end, to a wait, or to a store that does not answer.
func (d *Driver) drive(stop context.Context, s start) {
	d.begin(s)
	defer d.end(s.id)
	ctx := correlation.Remote(context.WithoutCancel(stop), s.correlationID, s.traceParent)
	ctx, span := otel.Tracer("caravan/services/orders").Start(ctx, "drive order")
	defer span.End()
	order, err := s.order, error(nil)
	if order == nil {
		order, err = d.orders.Get(ctx, s.id)
	}
	for err == nil && !order.Status.Terminal() {
		if stop.Err() != nil {
			return
		}
		if w := order.Waiting; w != nil && w.NextAttemptAt.After(d.clock.Now()) {
			d.later(s, w.NextAttemptAt)
			return
		}
		order, err = d.advance(ctx, order)
	}
	switch {
	case errors.Is(err, document.ErrNotFound):
		return // it has an entry in the feed and was never placed
	case err != nil:
		d.log.WarnContext(ctx, "order could not be driven and is retried", "aggregate", s.id, "error", err)
		d.later(s, d.clock.Now().Add(d.pace.Backoff.after(1)))
	default:
		d.alarm.Observe(ctx, order)
		d.watch.Notify(order)
	}
}

// advance runs steps from the order's stored state up to the next durable one, and writes the result. It returns the order as
// it is stored then.
func (d *Driver) advance(ctx context.Context, order *domain.Order) (*domain.Order, error) {
	work := *order
	work.Timeline, work.Refunds = slices.Clip(order.Timeline), slices.Clone(order.Refunds)
	var made []func(*domain.Order) error
	for durable := false; !durable; {
		var t Transition
		t, durable = d.next(ctx, work)
		now := d.clock.Now()
		if err := t(&work, now); err != nil {
			return nil, fmt.Errorf("order %s: %w", order.ID, err)
		}
		made = append(made, func(o *domain.Order) error { return t(o, now) })
		durable = durable || work.Status.Terminal() || work.Status == contract.Cancelling || work.Waiting != nil
	}
	written := false
	stored, err := d.orders.Update(ctx, order.ID, func(o *domain.Order) error {
		written = false
		if o.Revision != order.Revision {
			return document.ErrUnchanged // another writer has changed it: look again
		}
		for _, change := range made {
			if err := change(o); err != nil {
				return err
			}
		}
		written = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.stored(stored)
	d.alarm.Observe(ctx, stored)
	if written && stored.Status != order.Status {
		d.meter.Reached(ctx, stored.Status)
	}
	d.log.InfoContext(ctx, "order", "aggregate", stored.ID, "status", stored.Status, "reason", stored.Reason, "revision", stored.Revision)
	return stored, nil
}

// next runs the step of the order's state and returns the transition that follows from the answer, or from no answer.
func (d *Driver) next(ctx context.Context, o domain.Order) (t Transition, durable bool) {
	ctx, cancel := context.WithTimeout(ctx, d.pace.Attempt)
	defer cancel()
	if o.Overdue(d.clock.Now()) {
		return abandon(contract.Cancelled, domain.ReasonDeadline), true
	}
	began := d.clock.Now()
	if o.Status == contract.Cancelling {
		name, err := d.saga.compensate(ctx, o)
		d.stepped(ctx, stepCompensate, began, err)
		if err != nil {
			return d.wait(ctx, o, name, err), true
		}
		return (*domain.Order).Compensated, true
	}
	step, ok := d.saga.step(o.Status)
	if !ok {
		return func(*domain.Order, time.Time) error {
			return fmt.Errorf("%w: no step for status %s", domain.ErrTransition, o.Status)
		}, true
	}
	t, err := step.Do(ctx, o)
	d.stepped(ctx, step.Name, began, err)
	if err != nil {
		return d.wait(ctx, o, step.Name, err), true
	}
	return t, step.Durable
}

func (d *Driver) stepped(ctx context.Context, step string, began time.Time, err error) {
	outcome := StepAnswered
	if err != nil {
		outcome = StepNoAnswer
	}
	d.meter.Stepped(ctx, step, outcome, d.clock.Now().Sub(began))
}

// wait is the transition of a step that got no answer.
func (d *Driver) wait(ctx context.Context, o domain.Order, step string, cause error) Transition {
	attempts := 0
	if o.Waiting != nil && o.Waiting.Step == step {
		attempts = o.Waiting.Attempts
	}
	pause := d.pace.Backoff.after(attempts)
	d.log.WarnContext(ctx, "order waits", "aggregate", o.ID, "step", step, "attempts", attempts+1, "pause_ms", pause.Milliseconds(), "error", cause)
	return func(o *domain.Order, now time.Time) error {
		return o.Wait(step, waitingReason(cause), now, now.Add(pause))
	}
}

// waitingReason says, for staff, why a step got no answer.
func waitingReason(cause error) string {
	var e *invoke.Error
	switch {
	case errors.As(cause, &e) && e.BreakerOpen:
		return e.App + ": circuit breaker is open"
	case errors.As(cause, &e) && e.Temporary():
		return e.App + ": not available"
	case errors.Is(cause, context.DeadlineExceeded):
		return "no answer in time"
	}
	return cause.Error()
}
