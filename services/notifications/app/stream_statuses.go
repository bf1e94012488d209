package app

import (
	"context"
	"time"

	"caravan/services/notifications/domain"
)

// statusesKept is for how many orders of a user their statuses are remembered.
const statusesKept = 256

// statuses are those of one order, for the streams of its user.
type statuses struct{ domain.Progress }

// tell gives a status to the streams of its user, in order: see domain.Progress.
func (h *Streams) tell(status domain.OrderStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.users[status.UserID]
	if w == nil {
		return
	}
	of := w.statuses[status.OrderID]
	if of == nil {
		if w.orders = append(w.orders, status.OrderID); len(w.orders) > statusesKept {
			oldest := w.statuses[w.orders[0]]
			delete(w.statuses, w.orders[0])
			delete(h.held, oldest)
			w.orders = w.orders[1:]
		}
		of = new(statuses)
		w.statuses[status.OrderID] = of
	}
	pass, late := of.Take(status, h.inboxes.Clock.Now(), h.opts.Hold)
	if late {
		h.meter.LeftOut()
	}
	w.offer(pass)
	if _, waits := of.Waiting(); !waits {
		delete(h.held, of)
	} else if h.held[of] == nil {
		h.held[of] = w
		signal(h.hold)
	}
}

// offer gives statuses to all streams of a user.
func (w *watched) offer(pass []domain.OrderStatus) {
	for _, status := range pass {
		for _, s := range w.streams {
			s.offer(status)
		}
	}
}

// release passes statuses on that have waited for their time, until ctx ends.
func (h *Streams) release(ctx context.Context) {
	for h.pause(ctx, h.hold, h.released()) {
	}
}

// released passes statuses on whose time is over. It returns how long to wait for the next ones: see pause.
func (h *Streams) released() (next time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.inboxes.Clock.Now()
	for of, w := range h.held {
		w.offer(of.Due(now))
		at, waits := of.Waiting()
		switch rest := at.Sub(now); {
		case !waits:
			delete(h.held, of)
		case next == 0 || rest < next:
			next = rest
		}
	}
	return next
}
