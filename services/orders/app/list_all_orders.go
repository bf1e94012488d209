package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"caravan/internal/feed"
	"caravan/internal/page"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
)

// OrderFilter chooses orders: those that fit all of its members.
type OrderFilter struct {
	// Status is a state, or empty for any.
	Status contract.Status
	// Waiting chooses orders that wait, if Stalled is set: those that have done so for at least this long.
	Stalled bool
	Waiting time.Duration
	// Step is the step they wait at, or empty for any.
	Step string
}

// Listed is an order, and what it waits for, if it does.
type Listed struct {
	*domain.Order
	// Stall is nil for an order that does not wait.
	Stall *Stall
}

// Stall is what holds an order up.
type Stall struct {
	domain.Waiting
	// Age is how long it has done so.
	Age time.Duration
}

// unrecorded is the reason of an order that nobody has recorded an attempt of. The sweep finds such an order; where it
// lasts, no replica comes to drive it.
const unrecorded = "no attempt is recorded"

// stall is what holds an order up. An order on its way without an attempt that failed is held up, too: it is to be
// driven, and was not since it last changed.
func (u Operate) stall(o *domain.Order, now time.Time) *Stall {
	switch {
	case o.Status.Terminal():
		return nil
	case o.Waiting != nil:
		return &Stall{*o.Waiting, now.Sub(o.Waiting.Since)}
	}
	w := domain.Waiting{Step: u.Driver.saga.next(o.Status), Reason: unrecorded, Since: o.UpdatedAt, NextAttemptAt: o.UpdatedAt}
	return &Stall{w, now.Sub(o.UpdatedAt)}
}

// Steps names all that an order can wait at.
func (u Operate) Steps() []string { return u.Driver.saga.Waits() }

func (f OrderFilter) matches(l Listed) bool {
	if f.Status != "" && f.Status != l.Status {
		return false
	}
	return !f.Stalled || l.Stall != nil && l.Stall.Age >= f.Waiting && (f.Step == "" || f.Step == l.Stall.Step)
}

// walkAt is the content of a cursor: a place in the feed, and how many keys behind it are dealt with.
type walkAt struct {
	Feed string `json:"f"`
	Keys int    `json:"k,omitempty"`
}

// walkChunk is about how many keys one step of a walk reads, and walkSteps how many steps one request makes at most: a
// feed may have been quiet for long.
const (
	walkChunk = 100
	walkSteps = 64
	// walkTime is how long it goes on, well within the deadline of a request.
	walkTime = 5 * time.Second
)

// List returns orders that a filter chooses, oldest first, by walking the service's feed from a cursor, and the cursor
// of the next page or "". A page has up to limit orders, and may have fewer although more follow: the walk of one
// request is bounded. Of waiting orders the page is sorted, the one that waits longest first. An order that is
// entered in the feed anew meanwhile, as the sweep does with those that have not ended, may be on a later page again.
func (u Operate) List(ctx context.Context, f OrderFilter, cursor string, limit int) ([]Listed, string, error) {
	at, err := u.start(ctx, f, cursor)
	if err != nil {
		return nil, "", err
	}
	w := walk{Operate: u, filter: f, limit: limit, seen: make(map[string]bool), now: u.Clock.Now()}
	next := ""
	for scanned, step := 0, 0; scanned < scanLimit && step < walkSteps && len(w.found) < limit && u.Clock.Now().Sub(w.now) < walkTime; step++ {
		keys, err := u.Reader.Keys(ctx, at.place, walkChunk, -u.Reader.Ahead())
		if err != nil {
			return nil, "", fmt.Errorf("walking orders: %w", err)
		}
		dealt, all, err := w.take(ctx, keys, at.keys)
		if err != nil {
			return nil, "", err
		}
		scanned += dealt - at.keys
		switch {
		case dealt < all:
			next = page.Encode(walkAt{Feed: at.place.String(), Keys: dealt})
		case keys.End:
			next = ""
		default:
			at = place{place: keys.Next}
			next = page.Encode(walkAt{Feed: at.place.String()})
			continue
		}
		break
	}
	if f.Stalled {
		slices.SortStableFunc(w.found, func(a, b Listed) int { return cmp.Compare(b.Stall.Age, a.Stall.Age) })
	}
	return w.found, next, nil
}

// place is where a walk stands: so many keys behind a place in the feed.
type place struct {
	place feed.Cursor
	keys  int
}

// start is where a walk begins. Orders that have not ended are all behind the sweep's own cursor.
func (u Operate) start(ctx context.Context, f OrderFilter, cursor string) (place, error) {
	if cursor == "" && f.Stalled {
		from, err := u.Sweep.Behind(ctx)
		return place{place: from}, err
	}
	var at walkAt
	if err := page.Decode(cursor, &at); err != nil {
		return place{}, err
	}
	from, err := feed.ParseCursor(at.Feed)
	return place{place: from, keys: max(at.Keys, 0)}, err
}

// walk gathers one page.
type walk struct {
	Operate
	filter OrderFilter
	limit  int
	now    time.Time
	seen   map[string]bool
	found  []Listed
}

// take looks at the orders under keys of the feed, of which the first are dealt with already, until the page is full.
// It returns how many keys are dealt with now, of how many.
func (w *walk) take(ctx context.Context, keys feed.Keys, skip int) (dealt, all int, err error) {
	var flat []string
	for _, b := range keys.Buckets {
		flat = append(flat, b.Keys...)
	}
	orders, err := w.read(ctx, flat[min(skip, len(flat)):])
	if err != nil {
		return 0, 0, err
	}
	byID := make(map[string]*domain.Order, len(orders))
	for _, o := range orders {
		byID[Prefix+o.ID] = o
	}
	for dealt = min(skip, len(flat)); dealt < len(flat) && len(w.found) < w.limit; dealt++ {
		o := byID[flat[dealt]]
		if o == nil || w.seen[o.ID] {
			continue
		}
		w.seen[o.ID] = true
		if l := (Listed{o, w.stall(o, w.now)}); w.filter.matches(l) {
			w.found = append(w.found, l)
		}
	}
	return dealt, len(flat), nil
}
