// Package app holds the use cases of orders: placing, showing, cancelling and
// refunding them, the saga that drives each to an end, and the sweep that
// drives those that something stopped.
package app

import (
	"container/heap"
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
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
)

// Orders is the repository of orders.
type Orders = document.Repository[domain.Order, *domain.Order]

// Limits of the driver.
const (
	maxDriving = 512   // orders driven at once
	maxQueued  = 16384 // orders that wait to be driven; the sweep finds the rest
)

// Driver takes orders through the saga. Any number of drivers in any number of
// replicas may work on one order: its document decides by compare-and-swap.
type Driver struct {
	orders *Orders
	saga   Saga
	clock  clock.Clock
	log    *slog.Logger
	watch  *Watch
	pace   Pace
	alarm  *Alarm

	starts chan start
	mu     sync.Mutex
	active map[string]*domain.Order // orders at work, as last stored here; nil before they are read
	again  map[string]bool
	agenda agenda
}

// start asks for an order to be driven, in the context of what caused it.
type start struct {
	id            string
	order         *domain.Order // as just stored, if it is known
	correlationID string
	traceParent   string
}

// NewDriver makes a Driver; Run must be running for it to work.
func NewDriver(orders *Orders, saga Saga, clk clock.Clock, log *slog.Logger, watch *Watch, pace Pace, alarm *Alarm) *Driver {
	return &Driver{
		orders: orders, saga: saga, clock: clk, log: log, watch: watch, pace: pace, alarm: alarm,
		starts: make(chan start, maxQueued), active: make(map[string]*domain.Order), again: make(map[string]bool),
	}
}

// Start asks for an order to be driven soon. It never waits: an order that finds
// no place is found by the sweep.
func (d *Driver) Start(ctx context.Context, id string) { d.queue(ctx, start{id: id}) }

// StartStored is Start for an order that was written just now, which saves
// reading it again.
func (d *Driver) StartStored(ctx context.Context, order *domain.Order) {
	d.queue(ctx, start{id: order.ID, order: order})
}

func (d *Driver) queue(ctx context.Context, s start) {
	s.correlationID, s.traceParent = correlation.ID(ctx), correlation.Traceparent(ctx)
	select {
	case d.starts <- s:
	default:
	}
}

// Run drives orders until ctx ends, and then finishes the steps under way.
func (d *Driver) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { d.keepAgenda(ctx) })
	slots := make(chan struct{}, maxDriving)
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-d.starts:
			if !d.begin(s) {
				continue
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			all.Go(func() {
				defer func() { <-slots }()
				for more := true; more; more = d.end(s.id) {
					d.drive(ctx, s)
					s.order = nil
				}
			})
		}
	}
}

// begin makes sure that this process works on an order only once at a time; a
// start that comes meanwhile makes it look again.
func (d *Driver) begin(s start) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, busy := d.active[s.id]; busy {
		d.again[s.id] = true
		return false
	}
	d.active[s.id] = s.order
	return true
}

// AtWork returns an order that this driver is working on, as it last stored it.
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

func (d *Driver) end(id string) (more bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.again[id] {
		delete(d.again, id)
		return true
	}
	delete(d.active, id)
	return false
}

// drive takes one order as far as it gets: to an end, to a wait, or to a store
// that does not answer.
func (d *Driver) drive(stop context.Context, s start) {
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
		return // entered in the feed, but never placed
	case err != nil:
		d.log.WarnContext(ctx, "order could not be driven; it is tried again", "aggregate", s.id, "error", err)
		d.later(s, d.clock.Now().Add(d.pace.Backoff.after(1)))
	default:
		d.alarm.Observe(ctx, order)
		d.watch.Notify(order)
	}
}

// advance runs steps from the order's stored state up to the next durable one
// and writes what they led to. It returns the order as it is stored then.
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
	stored, err := d.orders.Update(ctx, order.ID, func(o *domain.Order) error {
		if o.Revision != order.Revision {
			return document.ErrUnchanged // somebody else moved it: look again
		}
		for _, change := range made {
			if err := change(o); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.stored(stored)
	d.alarm.Observe(ctx, stored)
	d.log.InfoContext(ctx, "order", "aggregate", stored.ID, "status", stored.Status, "reason", stored.Reason, "revision", stored.Revision)
	return stored, nil
}

// next runs the step that the order's state calls for and returns the
// transition that follows from its answer, or from getting none.
func (d *Driver) next(ctx context.Context, o domain.Order) (t Transition, durable bool) {
	ctx, cancel := context.WithTimeout(ctx, d.pace.Attempt)
	defer cancel()
	if o.Overdue(d.clock.Now()) {
		return abandon(contract.Cancelled, domain.ReasonDeadline), true
	}
	if o.Status == contract.Cancelling {
		if name, err := d.saga.compensate(ctx, o); err != nil {
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
	if err != nil {
		return d.wait(ctx, o, step.Name, err), true
	}
	return t, step.Durable
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

// waitingReason says in staff's words why a step got no answer.
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

// later puts an order on the agenda.
func (d *Driver) later(s start, at time.Time) {
	s.order = nil
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.agenda) < maxQueued {
		heap.Push(&d.agenda, appointment{at, s})
	}
}

// agendaTick is how often the agenda is looked at.
const agendaTick = 100 * time.Millisecond

// keepAgenda starts waiting orders when they are due.
func (d *Driver) keepAgenda(ctx context.Context) {
	for d.clock.Sleep(ctx, agendaTick) == nil {
		now := d.clock.Now()
		for {
			s, ok := d.due(now)
			if !ok {
				break
			}
			select {
			case d.starts <- s:
			default:
			}
		}
	}
}

func (d *Driver) due(now time.Time) (start, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.agenda) == 0 || d.agenda[0].at.After(now) {
		return start{}, false
	}
	return heap.Pop(&d.agenda).(appointment).start, true
}

// agenda is a heap of orders by the time of their next attempt.
type agenda []appointment

type appointment struct {
	at    time.Time
	start start
}

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)        { *a = append(*a, x.(appointment)) }
func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}
