package app

import (
	"context"
	"fmt"
	"slices"

	"caravan/internal/audit"
	"caravan/internal/bloom"
	"caravan/internal/feed"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
	users "caravan/services/users/contract"
)

// stock has products audit itself and checks every hold against its order.
func (w *auditWalk) stock(ctx context.Context) error {
	return pages(ctx, w, products.App, products.PathAudit, func(p *products.AuditPage) error {
		for part := range slices.Chunk(p.Holds, auditOrders) {
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
				auditHold(&own, h, orders[h.OrderID])
			}
			w.record(contract.App, own)
		}
		return nil
	})
}

// known reads orders by their ids, which may repeat. An order is written before anything is held for it.
func (w *auditWalk) known(ctx context.Context, ids []string) (map[string]*domain.Order, error) {
	slices.Sort(ids)
	orders, err := w.Orders.GetMany(ctx, slices.Compact(ids)...)
	if err != nil {
		return nil, fmt.Errorf("reading orders: %w", err)
	}
	return orders, nil
}

// auditHold checks a hold against its order, nil if there is none.
func auditHold(into *audit.Results, h products.OrderHold, o *domain.Order) {
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

// money has payments audit itself and checks the money of every order against the order.
func (w *auditWalk) money(ctx context.Context) error {
	return pages(ctx, w, payments.App, payments.PathAudit, func(p *payments.AuditPage) error {
		for part := range slices.Chunk(p.Orders, auditOrders) {
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
			w.record(contract.App, own)
		}
		return nil
	})
}

// users has users audit itself and checks the list of orders of each.
func (w *auditWalk) users(ctx context.Context) error {
	listed := bloom.New(listedOrder)
	err := pages(ctx, w, users.App, users.PathAudit, func(p *users.AuditPage) error {
		for _, id := range p.Users {
			if err := w.list(ctx, id, listed); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.listed = listed
	return nil
}

// listedOrder makes the memory for all entries of all lists 16 MiB: with ten million of them, one in a thousand orders that
// is missing from its list is taken for listed.
const listedOrder = 27

// list checks the list of a user's orders. It names orders whether the feed leads to them or not, so their events are
// checked against the feed here.
func (w *auditWalk) list(ctx context.Context, userID string, listed *bloom.Filter) error {
	var own audit.Results
	defer func() { w.record(contract.App, own) }()
	once := feed.NewSeen(auditRecent)
	for cursor := ""; ; {
		entries, next, err := w.Lists.Page(ctx, userID, cursor, auditOrders)
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
			if !e.of(orders[e.OrderID]) {
				continue // an entry without an order was never accepted
			}
			own.Check(!once.Has(e.OrderID), contract.InvariantListed, e.OrderID, "is listed twice")
			once.Add(e.OrderID)
			listed.Add(userID + " " + e.OrderID)
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
