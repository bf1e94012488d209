package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"caravan/internal/audit"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
)

const (
	// auditOrders is how many orders are read and compared at once.
	auditOrders = products.MaxHoldsOrders
	// auditKeys is about how many keys of the feed are read at once.
	auditKeys = 500
	// auditRecent is how many orders the walk over the feed remembers, so that one that is entered again soon is not
	// judged twice.
	auditRecent = 100_000
	// auditEntered is how long after an order was placed it is entered in the feed for the first time, at most. It is
	// judged at that entry.
	auditEntered = 5 * time.Minute

	// idle is how long an order may stay without an attempt to bring it on.
	idle = 2 * time.Minute
	// waitingLimit is how long a step that can not be given up may wait, and one before the pivot beyond its deadline.
	waitingLimit = 5 * time.Minute
)

// orders checks every order of the feed, by itself and against what the other services hold for it.
func (w *auditWalk) orders(ctx context.Context) error {
	recent := feed.NewSeen(auditRecent)
	var unasked error
	for cursor, end := (feed.Cursor{}), false; !end; {
		keys, err := w.Reader.Keys(ctx, cursor, auditKeys, -w.Reader.Ahead())
		if err != nil {
			return fmt.Errorf("walking orders: %w", err)
		}
		for _, b := range keys.Buckets {
			for part := range slices.Chunk(orderIDs(b.Keys, recent), auditOrders) {
				found, err := w.read(ctx, part, b.Bucket)
				if err != nil {
					return err
				}
				ended, err := w.judge(ctx, found)
				if err != nil {
					return err
				}
				if unasked == nil { // else the orders are still judged by themselves
					unasked = w.compare(ctx, ended)
				}
			}
		}
		cursor, end = keys.Next, keys.End
	}
	return unasked
}

// orderIDs are the ids of the orders among keys of the feed that were not met before.
func orderIDs(keys []string, met *feed.Seen) []string {
	var ids []string
	for _, k := range keys {
		if id, ok := strings.CutPrefix(k, Prefix); ok && !met.Has(id) {
			met.Add(id)
			ids = append(ids, id)
		}
	}
	return ids
}

// read returns those of some orders that are to be judged at an entry of the given bucket: an entry long after the order
// was placed is not its first.
func (w *auditWalk) read(ctx context.Context, ids []string, entered feed.Bucket) ([]*domain.Order, error) {
	found, err := w.Orders.GetMany(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("reading orders: %w", err)
	}
	var orders []*domain.Order
	for _, id := range ids {
		if o, ok := found[id]; ok && time.Unix(int64(entered), 0).Sub(o.PlacedAt) < auditEntered {
			orders = append(orders, o)
		}
	}
	return orders, nil
}

// judge checks orders by themselves and returns those that have ended.
func (w *auditWalk) judge(ctx context.Context, orders []*domain.Order) (ended []*domain.Order, err error) {
	var own audit.Results
	defer func() { w.record(contract.App, own) }()
	for _, o := range orders {
		key := w.Orders.Key(o.ID)
		history, err := w.history(ctx, &own, key, o)
		if err != nil {
			return nil, err
		}
		domain.AuditOrder(&own, key, o, history)
		if o.Key != "" {
			own.Check(o.ID == OrderID(o.UserID, o.Key), contract.InvariantKey, key, "its user and key make it %s", OrderID(o.UserID, o.Key))
		}
		w.count("orders."+string(o.Status), 1)
		w.sales.add(o, w.started)
		if o.Status.Terminal() {
			ended = append(ended, o)
			if err := w.inList(ctx, &own, o); err != nil {
				return nil, err
			}
			continue
		}
		w.count("orders.inFlight", 1)
		auditProgress(&own, key, o, w.started)
	}
	return ended, nil
}

// inList checks that an order is in its user's list. One that was not met there may have been placed since, so the list
// is read again.
func (w *auditWalk) inList(ctx context.Context, own *audit.Results, o *domain.Order) error {
	if w.listed == nil {
		return nil // the lists could not be read
	}
	there := w.listed.Has(o.UserID + " " + o.ID)
	if !there {
		var err error
		if there, err = listed(ctx, w.Lists, o); err != nil {
			return err
		}
	}
	own.Check(there, contract.InvariantListed, o.ID, "is not in the list of %s", o.UserID)
	return nil
}

// history returns all events of an order, checked against the feed.
func (w *auditWalk) history(ctx context.Context, own *audit.Results, key string, o *domain.Order) ([]event.Event, error) {
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

// add adds an order to the sums.
func (s *sales) add(o *domain.Order, started time.Time) {
	s.moving = s.moving || !o.Status.Terminal() || o.UpdatedAt.After(started)
	if o.UpdatedAt.After(s.newest) {
		s.newest = o.UpdatedAt
	}
	if !fulfilled(o.Status) {
		return
	}
	for _, l := range o.Lines {
		s.units += l.Quantity
	}
	s.paid[o.Total.Currency] += o.Total.Amount - o.Refunded.Amount
}

// auditProgress checks that an order under way is worked on, and waits no longer than it may.
func auditProgress(into *audit.Results, key string, o *domain.Order, now time.Time) {
	last := o.UpdatedAt
	if o.Waiting != nil {
		last = o.Waiting.NextAttemptAt
	}
	into.Check(now.Sub(last) <= idle, contract.InvariantProgress, key, "is %s, and nobody has worked on it since %s", o.Status, last.Format(time.RFC3339))
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

// fulfilled reports whether an order got what it asked for.
func fulfilled(s contract.Status) bool { return s == contract.Confirmed || s == contract.Refunded }

// compareAttempts is how often an order that moves is compared again.
const compareAttempts = 3

// compare checks orders that have ended against stock and wallets. As the order is read before them, they are at least
// as far; one that does not agree is read again, for it may have been refunded in between.
func (w *auditWalk) compare(ctx context.Context, orders []*domain.Order) error {
	for attempt := 0; len(orders) > 0; attempt++ {
		if attempt == compareAttempts {
			w.count("orders.moving", int64(len(orders)))
			return nil
		}
		theirs, err := w.evidence(ctx, orders)
		if err != nil {
			return err
		}
		suspects := make(map[string]audit.Results)
		for _, o := range orders {
			var own audit.Results
			theirs.compare(&own, o)
			if len(own.Findings) > 0 {
				suspects[o.ID] = own
				continue
			}
			w.record(contract.App, own)
		}
		if orders, err = w.moved(ctx, orders, suspects); err != nil {
			return err
		}
	}
	return nil
}

// moved records what was found about the suspects that are still as they were, and returns those that are not.
func (w *auditWalk) moved(ctx context.Context, orders []*domain.Order, suspects map[string]audit.Results) ([]*domain.Order, error) {
	var ids []string
	before := make(map[string]int64)
	for _, o := range orders {
		if _, suspect := suspects[o.ID]; suspect {
			ids, before[o.ID] = append(ids, o.ID), o.Revision
		}
	}
	now, err := w.Orders.GetMany(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("reading orders: %w", err)
	}
	var moved []*domain.Order
	for _, id := range ids {
		switch o := now[id]; {
		case o == nil || o.Revision == before[id]:
			w.record(contract.App, suspects[id])
		case o.Status.Terminal():
			moved = append(moved, o)
		}
	}
	return moved, nil
}

// evidence is what the other services hold for some orders.
type evidence struct {
	holds map[[2]string]products.OrderHold // by order and SKU
	money map[string]payments.OrderMoney
}

func (w *auditWalk) evidence(ctx context.Context, orders []*domain.Order) (evidence, error) {
	var stock products.HoldsRequest
	var wallets payments.OrdersRequest
	for _, o := range orders {
		stock.Orders = append(stock.Orders, products.OrderLines{OrderID: o.ID, PlacedAt: o.PlacedAt, SKUs: o.SKUs()})
		wallets.Orders = append(wallets.Orders, payments.OrderRef{OrderID: o.ID, UserID: o.UserID, PlacedAt: o.PlacedAt})
	}
	var held products.Holds
	if err := w.ask(ctx, products.App, products.PathHolds, stock, &held); err != nil {
		return evidence{}, err
	}
	var moved payments.Orders
	if err := w.ask(ctx, payments.App, payments.PathOrders, wallets, &moved); err != nil {
		return evidence{}, err
	}
	e := evidence{holds: make(map[[2]string]products.OrderHold), money: make(map[string]payments.OrderMoney)}
	for _, h := range held.Holds {
		e.holds[[2]string{h.OrderID, h.SKU}] = h
	}
	for _, m := range moved.Orders {
		e.money[m.OrderID] = m
	}
	return e, nil
}

// compare checks an order that has ended.
func (e evidence) compare(into *audit.Results, o *domain.Order) {
	for _, l := range o.Lines {
		h, ok := e.holds[[2]string{o.ID, l.SKU}]
		if fulfilled(o.Status) {
			into.Check(h.State == products.HoldCommitted && h.Quantity == l.Quantity, contract.InvariantSold, o.ID,
				"%d of %s ordered, %d %s", l.Quantity, l.SKU, h.Quantity, stateOr(h.State))
		} else {
			into.Check(!ok || h.State == products.HoldReleased, contract.InvariantGivenBack, o.ID, "%d of %s still %s", h.Quantity, l.SKU, h.State)
		}
	}
	m, ok := e.money[o.ID]
	if o.Status == contract.Rejected {
		into.Check(e.refused(o), contract.InvariantReason, o.ID, "was rejected for %q, and no service has this refusal on record", o.Reason)
	}
	if !fulfilled(o.Status) {
		into.Check(!ok || m.State == payments.OutcomeVoided, contract.InvariantFree, o.ID, "%d still %s", m.Authorized, m.State)
		return
	}
	into.Check(m.State == payments.OutcomeCaptured && m.Captured == o.Total.Amount && m.Currency == o.Total.Currency, contract.InvariantPaid, o.ID,
		"total %s, captured %d %s (%s)", o.Total, m.Captured, m.Currency, stateOr(m.State))
	into.Check(m.Refunded == o.Refunded.Amount, contract.InvariantRefunded, o.ID, "the order says %s, the wallet says %d", o.Refunded, m.Refunded)
}

// refused reports whether the service that an order was rejected by has the refusal on record. Without a record, a call
// without an answer was taken for a refusal.
func (e evidence) refused(o *domain.Order) bool {
	if o.Reason == domain.ReasonCurrencyMismatch {
		return o.ExpectedTotal != nil // it follows from the order itself, so that products keeps nothing
	}
	if o.Reason == domain.ReasonInsufficientFunds {
		m := e.money[o.ID]
		// A tombstone from before reasons were recorded has none.
		return m.State == payments.OutcomeVoided && m.Authorized == 0 && (m.Reason == payments.RefusedFunds || m.Reason == "")
	}
	want := map[string]string{
		domain.ReasonOutOfStock: products.OutcomeOutOfStock, domain.ReasonPriceChanged: products.OutcomePriceChanged,
		domain.ReasonUnknownProduct: products.OutcomeUnknownProduct,
	}[o.Reason]
	return slices.ContainsFunc(o.Lines, func(l domain.Line) bool {
		h, known := e.holds[[2]string{o.ID, l.SKU}]
		return known && want != "" && h.Reason == want || o.Reason == domain.ReasonUnknownProduct && (!known || h.BeforeStock)
	})
}

func stateOr(s string) string {
	if s == "" {
		return "missing"
	}
	return s
}
