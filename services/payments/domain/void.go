package domain

import "caravan/services/payments/contract"

// Void releases what the order holds. An order that the account does not know gets a tombstone, so that a late authorize holds
// nothing: a compensation has the same effect before and after the step that it compensates. A repeat is answered voided, and
// a captured order is answered captured.
//
// Errors: ErrArchive, ErrNotOpen.
func (a *Account) Void(order Order, past Past) (Result, error) {
	h, known, err := a.hold(order, past)
	switch {
	case err != nil:
		return Result{}, err
	case known && h.State == Captured:
		return Result{Outcome: contract.OutcomeCaptured}, nil
	case known && h.State == Voided:
		return Result{Outcome: contract.OutcomeVoided}, nil
	case a.Currency == "":
		return Result{}, ErrNotOpen
	}
	if !known {
		h.PlacedAt, h.Reason = order.PlacedAt, contract.VoidedByOrder
	}
	a.Held -= h.Amount
	h.State = Voided
	a.keep(order.ID, h)
	return Result{Outcome: contract.OutcomeVoided, Changed: true}, nil
}
