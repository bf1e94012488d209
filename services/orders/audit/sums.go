package audit

import (
	"time"

	"caravan/internal/audit"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
)

// sales are the sums over all confirmed orders.
type sales struct {
	units  int64
	paid   map[string]int64 // less refunds, in minor units by currency
	moving bool             // an order has not ended, or changed after the audit began
	newest time.Time        // of the last changes of all orders, by the clocks of those who made them
}

// clockSkew is the most by which clocks may differ (see feed.Timing).
const clockSkew = 15 * time.Second

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

// fulfilled reports whether an order in this state was carried out.
func fulfilled(s contract.Status) bool { return s == contract.Confirmed || s == contract.Refunded }

// sums compares the sums of all orders with those of all stock and all wallets, if nothing moves. An order that changed less
// than clockSkew before the audit began may move: then sums that agree are a proof, and sums that do not agree are none.
func (w *walk) sums() {
	if w.failed || w.sales.moving {
		return
	}
	var own audit.Results
	gone := w.results.Counted(products.App + ".committed")
	own.Check(gone == w.sales.units, contract.InvariantUnits, contract.App, "%d units are gone, %d were sold", gone, w.sales.units)
	for currency, paid := range w.sales.paid {
		taken := w.results.Counted(payments.App + ".merchant:sales." + currency)
		own.Check(taken == paid, contract.InvariantRevenue, currency, "%d were taken, orders paid %d less refunds", taken, paid)
	}
	if w.differ = len(own.Findings) > 0 && w.sales.newest.Add(clockSkew).After(w.started); !w.differ {
		w.record(own)
	}
}
