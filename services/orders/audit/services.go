package audit

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"caravan/internal/audit"
	"caravan/internal/bloom"
	"caravan/internal/feed"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
	users "caravan/services/users/contract"
)

// stock reads the audit of products and checks every hold against its order.
func (w *walk) stock(ctx context.Context) error {
	return pages(ctx, w, products.App, products.PathAudit, func(p *products.AuditPage) error {
		for part := range slices.Chunk(p.Holds, ordersAtOnce) {
			ids := make([]string, len(part))
			for i, h := range part {
				ids[i] = h.OrderID
			}
			orders, err := w.known(ctx, ids)
			if err != nil {
				return err
			}
			var own audit.Results
			for _, h := range part {
				checkHold(&own, h, orders[h.OrderID])
			}
			w.record(own)
		}
		return nil
	})
}

// known reads orders by their ids, which may repeat. An order is written before anything is held for it.
func (w *walk) known(ctx context.Context, ids []string) (map[string]*domain.Order, error) {
	slices.Sort(ids)
	orders, err := w.Orders.GetMany(ctx, slices.Compact(ids)...)
	if err != nil {
		return nil, fmt.Errorf("reading orders: %w", err)
	}
	return orders, nil
}

// checkHold checks a hold against its order, nil if there is none.
func checkHold(into *audit.Results, h products.OrderHold, o *domain.Order) {
	if o == nil {
		into.Check(h.State == products.HoldReleased, contract.InvariantHeldFor, h.OrderID, "%d of %s %s for an unknown order", h.Quantity, h.SKU, h.State)
		return
	}
	i := slices.IndexFunc(o.Lines, func(l domain.Line) bool { return l.SKU == h.SKU })
	if !into.Check(i >= 0, contract.InvariantHeldFor, h.OrderID, "%d of %s %s, which was not ordered", h.Quantity, h.SKU, h.State) || h.Quantity == 0 {
		return
	}
	l := o.Lines[i]
	into.Check(h.Quantity == l.Quantity, contract.InvariantHeldFor, h.OrderID, "%d of %s %s, %d were ordered", h.Quantity, h.SKU, h.State, l.Quantity)
	if o.Total.Currency != "" {
		into.Check(l.UnitPrice.Amount == h.UnitPrice && l.UnitPrice.Currency == h.Currency, contract.InvariantPrice, h.OrderID,
			"%s costs %s, locked were %d %s", h.SKU, l.UnitPrice, h.UnitPrice, h.Currency)
	}
}

// money reads the audit of payments and checks the money of every order against the order.
func (w *walk) money(ctx context.Context) error {
	return pages(ctx, w, payments.App, payments.PathAudit, func(p *payments.AuditPage) error {
		for part := range slices.Chunk(p.Orders, ordersAtOnce) {
			ids := make([]string, len(part))
			for i, m := range part {
				ids[i] = m.OrderID
			}
			orders, err := w.known(ctx, ids)
			if err != nil {
				return err
			}
			var own audit.Results
			for _, m := range part {
				o, ok := orders[m.OrderID]
				own.Check(ok && o.UserID == m.UserID || !ok && m.State == payments.OutcomeVoided, contract.InvariantPaidFor, m.OrderID,
					"%d %s in the wallet of %s; the order exists: %t", m.Authorized, m.State, m.UserID, ok)
			}
			w.record(own)
		}
		return nil
	})
}

// users reads the audit of users and checks the list of orders of each user.
func (w *walk) users(ctx context.Context) error {
	listed := &listing{orders: bloom.New(listedOrder)}
	err := pages(ctx, w, users.App, users.PathAudit, func(p *users.AuditPage) error {
		lists, ctx := errgroup.WithContext(ctx)
		lists.SetLimit(listsAtOnce)
		for _, id := range p.Users {
			lists.Go(func() error { return w.list(ctx, id, listed) })
		}
		return lists.Wait()
	})
	if err != nil {
		return err
	}
	w.listed = listed.orders
	return nil
}

// listsAtOnce is how many lists are read at once. Their reads share calls of the store.
const listsAtOnce = 16

// listing collects the entries of lists that are read at once.
type listing struct {
	mu     sync.Mutex
	orders *bloom.Filter
}

func (l *listing) add(userID, orderID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.orders.Add(userID + " " + orderID)
}

// listedOrder makes the memory for all entries of all lists 16 MiB. With ten million entries, one in a thousand orders that are
// missing from their list is taken for listed.
const listedOrder = 27

// list checks the list of a user's orders. The list has also orders that are missing in the feed, so their events are checked
// against the feed here.
func (w *walk) list(ctx context.Context, userID string, listed *listing) error {
	var own audit.Results
	defer func() { w.record(own) }()
	once := feed.NewSeen(ordersRemembered)
	for cursor := ""; ; {
		entries, next, err := w.Lists.Page(ctx, userID, cursor, ordersAtOnce)
		if err != nil {
			return err
		}
		ids := make([]string, len(entries))
		for i, e := range entries {
			ids[i] = e.OrderID
		}
		orders, err := w.known(ctx, ids)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !e.Of(orders[e.OrderID]) {
				continue // an order that was never accepted has an entry only
			}
			own.Check(!once.Has(e.OrderID), contract.InvariantListed, e.OrderID, "is listed twice")
			once.Add(e.OrderID)
			listed.add(userID, e.OrderID)
		}
		for id, o := range orders {
			own.Check(o.UserID == userID, contract.InvariantListed, id, "is of %s and listed by %s", o.UserID, userID)
			w.Trail.Coverage.Check(&own, w.Orders.Key(id), o.Timeline)
		}
		if cursor = next; cursor == "" {
			return nil
		}
	}
}
