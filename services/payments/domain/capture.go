package domain

import (
	"time"

	"caravan/services/payments/contract"
)

// Capture takes what the order holds out of the account. It is the pivot of the order saga: after it only a refund returns
// the money. A repeat is answered captured, and a voided order is answered voided.
//
// Errors: ErrNotAuthorized, ErrArchive, money.ErrOverflow.
func (a *Account) Capture(order Order, now time.Time, past Past) (Result, error) {
	h, known, err := a.hold(order, past)
	switch {
	case err != nil:
		return Result{}, err
	case !known:
		return Result{}, ErrNotAuthorized
	case h.State == Captured:
		return Result{Outcome: contract.OutcomeCaptured}, nil
	case h.State == Voided:
		return Result{Outcome: contract.OutcomeVoided}, nil
	}
	if err := a.movable(-h.Amount, CounterSales); err != nil {
		return Result{}, err
	}
	a.Held -= h.Amount
	h.State, h.Captured = Captured, h.Amount
	h.Posting = a.post(Posting{
		Kind: KindCapture, Operation: order.ID, OrderID: order.ID, Amount: -h.Amount, CounterAccount: CounterSales, At: now,
	})
	a.keep(order.ID, h)
	return Result{Outcome: contract.OutcomeCaptured, Changed: true}, nil
}
