package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"caravan/internal/clock"
	"caravan/internal/feed"
	"caravan/internal/page"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
)

// ListAllOrders lists the orders of all users, for staff.
type ListAllOrders struct {
	Orders *Orders
	Reader *feed.Reader
	Saga   Saga
	Sweep  *Sweep
	Clock  clock.Clock
}

// OrderFilter selects the orders that match all of its members.
type OrderFilter struct {
	// Status is a state, or empty for any.
	Status contract.Status
	// Stalled selects orders that have waited for at least Waiting.
	Stalled bool
	Waiting time.Duration
	// Step is the step at which they wait, or empty for any.
	Step string
}

// Listed is an order with what it waits for.
type Listed struct {
	*domain.Order
	// Stall is nil for an order that does not wait.
	Stall *Stall
}

// Stall is what an order waits for.
type Stall struct {
	domain.Waiting
	// Age is for how long it has waited.
	Age time.Duration
}

// unrecorded is the reason of an order without a recorded attempt. The sweep finds such an order. If the reason stays, no
// replica drives the order.
const unrecorded = "no attempt is recorded"

// stall is what an order waits for. An order under way without a failed attempt waits, too: nothing has happened since it
// changed last.
func (u ListAllOrders) stall(o *domain.Order, now time.Time) *Stall {
	switch {
	case o.Status.Terminal():
		return nil
	case o.Waiting != nil:
		return &Stall{*o.Waiting, now.Sub(o.Waiting.Since)}
	}
	w := domain.Waiting{Step: u.Saga.next(o.Status), Reason: unrecorded, Since: o.UpdatedAt, NextAttemptAt: o.UpdatedAt}
	return &Stall{w, now.Sub(o.UpdatedAt)}
}

func (f OrderFilter) matches(l Listed) bool {
	if f.Status != "" && f.Status != l.Status {
		return false
	}
	return !f.Stalled || l.Stall != nil && l.Stall.Age >= f.Waiting && (f.Step == "" || f.Step == l.Stall.Step)
}

// The limits of one request. A feed may have few orders for a long time.
const (
	// walkOrders bounds the keys that are looked at, and walkChunk is about how many are read at once.
	walkOrders = 2000
	walkChunk  = 100
	// walkReads bounds the reads of the feed, and walkTime the time, well within the deadline of a request.
	walkReads = 64
	walkTime  = 5 * time.Second
)

// position is where a list goes on: behind so many keys from a place in the feed. It is the content of a cursor.
type position struct {
	Feed string `json:"f"`
	Keys int    `json:"k,omitempty"`
}

// Do returns the orders that match a filter, oldest first, by reading the service's feed from a cursor, and the cursor of the
// next page or "". A page has up to limit orders. It may have fewer although more follow, as one request reads a bounded
// part of the feed. A page of stalled orders is sorted: the order that has waited longest comes first. The sweep enters
// orders that have not ended in the feed again and again, so an order may be on a later page again.
func (u ListAllOrders) Do(ctx context.Context, f OrderFilter, cursor string, limit int) ([]Listed, string, error) {
	from, skip, err := u.start(ctx, f, cursor)
	if err != nil {
		return nil, "", err
	}
	w := walk{ListAllOrders: u, filter: f, limit: limit, seen: make(map[string]bool), now: u.Clock.Now()}
	next := ""
	for scanned, reads := 0, 0; scanned < walkOrders && reads < walkReads && len(w.found) < limit && u.Clock.Now().Sub(w.now) < walkTime; reads++ {
		keys, err := u.Reader.Keys(ctx, from, walkChunk, -u.Reader.Ahead())
		if err != nil {
			return nil, "", fmt.Errorf("reading the feed of orders: %w", err)
		}
		done, all, err := w.take(ctx, keys, skip)
		if err != nil {
			return nil, "", err
		}
		scanned += done - skip
		if done < all { // the page is full
			next = page.Encode(position{Feed: from.String(), Keys: done})
			break
		}
		if keys.End {
			next = ""
			break
		}
		from, skip = keys.Next, 0
		next = page.Encode(position{Feed: from.String()})
	}
	if f.Stalled {
		slices.SortStableFunc(w.found, func(a, b Listed) int { return cmp.Compare(b.Stall.Age, a.Stall.Age) })
	}
	return w.found, next, nil
}

// start returns where a list begins: a place in the feed and the number of keys to skip there. All orders that have not ended
// are behind the cursor of the sweep.
func (u ListAllOrders) start(ctx context.Context, f OrderFilter, cursor string) (from feed.Cursor, skip int, err error) {
	if cursor == "" && f.Stalled {
		from, err = u.Sweep.Behind(ctx)
		return from, 0, err
	}
	var at position
	if err := page.Decode(cursor, &at); err != nil {
		return feed.Cursor{}, 0, err
	}
	from, err = feed.ParseCursor(at.Feed)
	return from, max(at.Keys, 0), err
}

// walk collects one page.
type walk struct {
	ListAllOrders
	filter OrderFilter
	limit  int
	now    time.Time
	seen   map[string]bool
	found  []Listed
}

// take looks at the orders under keys of the feed, except the first skip, until the page is full. It returns how many of all
// keys are done.
func (w *walk) take(ctx context.Context, keys feed.Keys, skip int) (done, all int, err error) {
	var flat []string
	for _, b := range keys.Buckets {
		flat = append(flat, b.Keys...)
	}
	skip = min(skip, len(flat))
	orders, err := w.Orders.GetMany(ctx, OrderIDs(flat[skip:])...)
	if err != nil {
		return 0, 0, fmt.Errorf("reading orders: %w", err)
	}
	byKey := make(map[string]*domain.Order, len(orders))
	for id, o := range orders {
		byKey[Prefix+id] = o
	}
	for done = skip; done < len(flat) && len(w.found) < w.limit; done++ {
		o := byKey[flat[done]]
		if o == nil || w.seen[o.ID] {
			continue
		}
		w.seen[o.ID] = true
		if l := (Listed{o, w.stall(o, w.now)}); w.filter.matches(l) {
			w.found = append(w.found, l)
		}
	}
	return done, len(flat), nil
}
