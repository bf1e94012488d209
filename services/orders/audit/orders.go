package audit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"caravan/internal/audit"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/services/orders/app"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	products "caravan/services/products/contract"
)

const (
	// ordersAtOnce is how many orders are read and compared at once.
	ordersAtOnce = products.MaxHoldsOrders
	// keysAtOnce is about how many keys of the feed are read at once.
	keysAtOnce = 500
	// ordersRemembered is how many orders are remembered, so that an order with several entries is checked once.
	ordersRemembered = 100_000
	// firstEntry is how long after an order was placed its first entry in the feed may be. The order is checked at that entry.
	firstEntry = 5 * time.Minute

	// idle is how long an order under way may stay without an attempt.
	idle = 2 * time.Minute
	// waitingLimit is how long an order may wait past the pivot, and before the pivot after its deadline.
	waitingLimit = 5 * time.Minute
)

// orders checks every order of the feed, by itself and against what the other services hold for it.
func (w *walk) orders(ctx context.Context) error {
	met := feed.NewSeen(ordersRemembered)
	var unasked error
	for cursor, end := (feed.Cursor{}), false; !end; {
		keys, err := w.Reader.Keys(ctx, cursor, keysAtOnce, -w.Reader.Ahead())
		if err != nil {
			return fmt.Errorf("walking orders: %w", err)
		}
		// A bucket has few orders in most feeds. So orders of many buckets share the questions to the others.
		for part := range slices.Chunk(fresh(keys.Buckets, met), ordersAtOnce) {
			found, err := w.read(ctx, part)
			if err != nil {
				return err
			}
			ended, err := w.check(ctx, found)
			if err != nil {
				return err
			}
			if unasked == nil { // otherwise the orders are still checked by themselves
				unasked = w.compare(ctx, ended)
			}
		}
		cursor, end = keys.Next, keys.End
	}
	return unasked
}

// entry is an order in a bucket of the feed.
type entry struct {
	id     string
	bucket feed.Bucket
}

// fresh returns the orders in buckets of the feed that were not met before.
func fresh(buckets []feed.BucketKeys, met *feed.Seen) []entry {
	var entries []entry
	for _, b := range buckets {
		for _, id := range app.OrderIDs(b.Keys) {
			if !met.Has(id) {
				entries = append(entries, entry{id, b.Bucket})
			}
			met.Add(id)
		}
	}
	return entries
}

// read returns those of some orders that are to be checked at their entries: an entry long after the order was placed is not its
// first.
func (w *walk) read(ctx context.Context, entries []entry) ([]*domain.Order, error) {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.id
	}
	found, err := w.Orders.GetMany(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("reading orders: %w", err)
	}
	var orders []*domain.Order
	for _, e := range entries {
		if o, ok := found[e.id]; ok && time.Unix(int64(e.bucket), 0).Sub(o.PlacedAt) < firstEntry {
			orders = append(orders, o)
		}
	}
	return orders, nil
}

// check checks orders by themselves and returns those that have ended.
func (w *walk) check(ctx context.Context, orders []*domain.Order) (ended []*domain.Order, err error) {
	var own audit.Results
	defer func() { w.record(own) }()
	for _, o := range orders {
		key := w.Orders.Key(o.ID)
		history, err := w.history(ctx, &own, key, o)
		if err != nil {
			return nil, err
		}
		domain.AuditOrder(&own, key, o, history)
		if o.Key != "" {
			own.Check(o.ID == app.OrderID(o.UserID, o.Key), contract.InvariantKey, key, "its user and key make it %s", app.OrderID(o.UserID, o.Key))
		}
		w.results.Count("orders."+string(o.Status), 1)
		w.sales.add(o, w.started)
		if o.Status.Terminal() {
			ended = append(ended, o)
			if err := w.inList(ctx, &own, o); err != nil {
				return nil, err
			}
			continue
		}
		w.results.Count("orders.inFlight", 1)
		checkProgress(&own, key, o, w.started)
	}
	return ended, nil
}

// inList checks that an order is in its user's list. If it was not met there, it may have been placed since, so the list is
// read again.
func (w *walk) inList(ctx context.Context, own *audit.Results, o *domain.Order) error {
	if w.listed == nil {
		return nil // the lists could not be read
	}
	there := w.listed.Has(o.UserID + " " + o.ID)
	if !there {
		var err error
		if there, err = w.Lists.Has(ctx, o); err != nil {
			return err
		}
	}
	own.Check(there, contract.InvariantListed, o.ID, "is not in the list of %s", o.UserID)
	return nil
}

// history returns all events of an order, checked against the feed.
func (w *walk) history(ctx context.Context, own *audit.Results, key string, o *domain.Order) ([]event.Event, error) {
	var all []event.Event
	for n := range o.TimelineSegments {
		events, err := w.Trail.Segment(ctx, own, key, o.ID, &o.Root, n)
		if err != nil {
			return nil, err
		}
		all = append(all, events...)
	}
	return append(all, w.Trail.Head(own, key, o.ID, &o.Root)...), nil
}

// checkProgress checks that an order under way has recent attempts, and waits no longer than it may.
func checkProgress(into *audit.Results, key string, o *domain.Order, now time.Time) {
	last := o.UpdatedAt
	if o.Waiting != nil {
		last = o.Waiting.NextAttemptAt
	}
	into.Check(now.Sub(last) <= idle, contract.InvariantProgress, key, "is %s, without an attempt since %s", o.Status, last.Format(time.RFC3339))
	if o.Waiting == nil {
		return
	}
	until := o.Waiting.Since
	if !o.PastPivot() && o.Status != contract.Cancelling && o.Deadline.After(until) {
		until = o.Deadline
	}
	into.Check(now.Sub(until) <= waitingLimit, contract.InvariantWaiting, key, "is %s and waits for %q since %s after %d attempts: %s",
		o.Status, o.Waiting.Step, o.Waiting.Since.Format(time.RFC3339), o.Waiting.Attempts, o.Waiting.Reason)
}
