package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"caravan/services/orders/domain"
)

// pollEvery is how often a waiting request reads an order that another replica may work on.
const pollEvery = 250 * time.Millisecond

// End lets one request wait for the end of an order, whichever replica brings it there.
type End struct {
	driver *Driver
	here   <-chan *domain.Order // receives the order if this replica brings it to its end
	// Forget stops the waiting. It must be called.
	Forget func()
}

// Expect begins to wait for the end of an order. A request does so before it reads or starts the order, so that it misses no end.
func (d *Driver) Expect(id string) End {
	here, forget := d.watch.Ended(id)
	return End{driver: d, here: here, Forget: forget}
}

// Await returns the order when it has ended, or as it is at the given time. order is what the request has read or stored.
func (e End) Await(ctx context.Context, order *domain.Order, until time.Time) (*domain.Order, error) {
	for !order.Status.Terminal() {
		left := until.Sub(e.driver.clock.Now())
		if left <= 0 {
			break
		}
		polled, cancel := context.WithTimeout(ctx, min(left, pollEvery))
		var err error
		select {
		case order = <-e.here:
		case <-polled.Done():
			if err = ctx.Err(); err == nil { // the request goes on
				order, err = e.driver.current(ctx, order.ID)
			}
		}
		cancel()
		if err != nil {
			return nil, fmt.Errorf("waiting for the end of an order: %w", err)
		}
	}
	return order, nil
}

// current is the order now. It needs no read while this replica works on the order.
func (d *Driver) current(ctx context.Context, id string) (*domain.Order, error) {
	if order, ok := d.AtWork(id); ok {
		return order, nil
	}
	return d.orders.Get(ctx, id)
}

// Watch lets requests wait until an order that this replica drives has ended.
type Watch struct {
	mu      sync.Mutex
	waiting map[string][]chan *domain.Order
}

// NewWatch makes a Watch.
func NewWatch() *Watch { return &Watch{waiting: make(map[string][]chan *domain.Order)} }

// Notify gives the order to the requests that wait for it. They must not change it.
func (w *Watch) Notify(o *domain.Order) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.waiting[o.ID] {
		c <- o // each channel has room for its one message
	}
	delete(w.waiting, o.ID)
}

// Ended returns a channel that receives the order once, when this replica has brought it to its end, and a function that stops
// the waiting.
func (w *Watch) Ended(id string) (<-chan *domain.Order, func()) {
	c := make(chan *domain.Order, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting[id] = append(w.waiting[id], c)
	return c, func() { w.forget(id, c) }
}

func (w *Watch) forget(id string, c chan *domain.Order) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := w.waiting[id][:0]
	for _, other := range w.waiting[id] {
		if other != c {
			rest = append(rest, other)
		}
	}
	if len(rest) == 0 {
		delete(w.waiting, id)
		return
	}
	w.waiting[id] = rest
}
