package domain

import (
	"slices"
	"time"

	"caravan/internal/audit"
	"caravan/internal/event"
	"caravan/services/orders/contract"
)

// AuditOrder checks an order by itself: its history, which is all of its events, and its sums. key is that of its document.
func AuditOrder(into *audit.Results, key string, o *Order, history []event.Event) {
	auditHistory(into, key, o, history)
	auditEnd(into, key, o, history)
	auditReason(into, key, o, history)
	if o.Total.Currency == "" {
		return // not priced yet
	}
	auditSums(into, key, o)
}

// auditHistory follows the events from state to state.
func auditHistory(into *audit.Results, key string, o *Order, history []event.Event) {
	var at contract.Status
	for _, e := range history {
		next := Following(at, e)
		if !into.Check(next != "", contract.InvariantHistory, key, "%s after %q", e.Type, at) {
			return
		}
		at = next
	}
	into.Check(at == o.Status, contract.InvariantHistory, key, "is %s, its history leads to %q", o.Status, at)
}

// auditEnd counts the ends.
func auditEnd(into *audit.Results, key string, o *Order, history []event.Event) {
	ends := 0
	for _, e := range history {
		switch e.Type {
		case contract.EventConfirmed, contract.EventRejected, contract.EventCancelled:
			ends++
		}
	}
	want := 0
	if o.Status.Terminal() || o.Status == contract.Refunding {
		want = 1
	}
	into.Check(ends == want, contract.InvariantOneEnd, key, "is %s and has ended %d times", o.Status, ends)
}

// reasons are those for which an order may end without being fulfilled.
var reasons = map[contract.Status][]string{
	contract.Rejected:  {ReasonOutOfStock, ReasonUnknownProduct, ReasonPriceChanged, ReasonCurrencyMismatch, ReasonInsufficientFunds},
	contract.Cancelled: {ReasonDeadline, ReasonCustomer, ReasonStaff},
}

// auditReason checks why an order ended without being fulfilled.
func auditReason(into *audit.Results, key string, o *Order, history []event.Event) {
	final, failed := reasons[o.Status]
	if !failed {
		return
	}
	into.Check(slices.Contains(final, o.Reason), contract.InvariantReason, key, "was %s for %q", o.Status, o.Reason)
	if o.Reason != ReasonDeadline {
		return
	}
	for _, e := range history {
		if e.Type == contract.EventCancelling {
			into.Check(e.Time.After(o.Deadline), contract.InvariantReason, key, "was cancelled by its deadline, %s, at %s",
				o.Deadline.Format(time.RFC3339), e.Time.Format(time.RFC3339))
		}
	}
}

// auditSums recomputes the total and what was refunded.
func auditSums(into *audit.Results, key string, o *Order) {
	var total, refunded int64
	for _, l := range o.Lines {
		into.Check(l.UnitPrice.Amount*l.Quantity == l.LineTotal.Amount && l.LineTotal.Currency == o.Total.Currency, contract.InvariantTotals, key,
			"%s: %d x %s is not %s", l.SKU, l.Quantity, l.UnitPrice, l.LineTotal)
		total += l.LineTotal.Amount
	}
	into.Check(total == o.Total.Amount, contract.InvariantTotals, key, "the lines add up to %d, the total is %s", total, o.Total)
	for _, r := range o.Refunds {
		if r.Done {
			refunded += r.Amount.Amount
		}
	}
	into.Check(refunded == o.Refunded.Amount && refunded <= total, contract.InvariantRefunds, key,
		"the refunds add up to %d, refunded is %s of %s", refunded, o.Refunded, o.Total)
}
