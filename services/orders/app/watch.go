package app

import (
	"sync"

	"caravan/services/orders/domain"
)

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
