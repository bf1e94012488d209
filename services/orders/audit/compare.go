package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"caravan/internal/audit"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
)

// compareAttempts is how often an order that keeps changing is compared.
const compareAttempts = 3

// compare checks orders that have ended against stock and wallets. These are read after the order, so they are at least as
// recent. An order that does not agree is read again, because it may have been refunded meanwhile.
func (w *walk) compare(ctx context.Context, orders []*domain.Order) error {
	for attempt := 0; len(orders) > 0; attempt++ {
		if attempt == compareAttempts {
			w.results.Count("orders.moving", int64(len(orders)))
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
			w.record(own)
		}
		if orders, err = w.moved(ctx, orders, suspects); err != nil {
			return err
		}
	}
	return nil
}

// moved records what was found about the suspects that are unchanged, and returns those that have changed.
func (w *walk) moved(ctx context.Context, orders []*domain.Order, suspects map[string]audit.Results) ([]*domain.Order, error) {
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
			w.record(suspects[id])
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

func (w *walk) evidence(ctx context.Context, orders []*domain.Order) (evidence, error) {
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
				"%d of %s ordered, %d %s", l.Quantity, l.SKU, h.Quantity, cmp.Or(h.State, "missing"))
		} else {
			into.Check(!ok || h.State == products.HoldReleased, contract.InvariantGivenBack, o.ID, "%d of %s still %s", h.Quantity, l.SKU, h.State)
		}
	}
	m, ok := e.money[o.ID]
	if o.Status == contract.Rejected {
		into.Check(e.refused(o), contract.InvariantReason, o.ID, "was rejected for %q, and no service has a record of this refusal", o.Reason)
	}
	if !fulfilled(o.Status) {
		into.Check(!ok || m.State == payments.OutcomeVoided, contract.InvariantFree, o.ID, "%d still %s", m.Authorized, m.State)
		return
	}
	into.Check(m.State == payments.OutcomeCaptured && m.Captured == o.Total.Amount && m.Currency == o.Total.Currency, contract.InvariantPaid, o.ID,
		"total %s, captured %d %s (%s)", o.Total, m.Captured, m.Currency, cmp.Or(m.State, "missing"))
	into.Check(m.Refunded == o.Refunded.Amount, contract.InvariantRefunded, o.ID, "the order says %s, the wallet says %d", o.Refunded, m.Refunded)
}

// refused reports whether the service that refused an order has a record of it. Without a record, a call without an answer
// was taken for a refusal.
func (e evidence) refused(o *domain.Order) bool {
	if o.Reason == domain.ReasonCurrencyMismatch {
		return o.ExpectedTotal != nil // it follows from the order itself, so products keeps no record
	}
	if o.Reason == domain.ReasonInsufficientFunds {
		m := e.money[o.ID]
		// A tombstone of an early version has no reason.
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
