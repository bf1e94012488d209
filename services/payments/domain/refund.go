package domain

import (
	"maps"
	"time"

	"caravan/internal/money"
	"caravan/services/payments/contract"
)

// Refund returns a part of what the order captured to the account. The refunds of an order never exceed what it captured. A
// repeat of a refund id is answered refunded.
//
// Errors: ErrAmount, ErrOperationReused, ErrTooManyRefunds, ErrArchive, money.ErrOverflow.
func (a *Account) Refund(order Order, refundID string, amount money.Money, now time.Time, past Past) (Result, error) {
	if amount.Amount <= 0 {
		return Result{}, ErrAmount
	}
	h, known, err := a.hold(order, past)
	if err != nil {
		return Result{}, err
	}
	if !known || h.State != Captured {
		return Result{Outcome: contract.OutcomeNotCaptured}, nil
	}
	if before, repeated := h.Refunds[refundID]; repeated {
		if before != amount.Amount || a.Currency != amount.Currency {
			return Result{}, ErrOperationReused
		}
		return Result{Outcome: contract.OutcomeRefunded}, nil
	}
	switch {
	case amount.Currency != a.Currency || amount.Amount > h.Captured-h.Refunded:
		return Result{Outcome: contract.OutcomeExceedsCaptured}, nil
	case len(h.Refunds) >= MaxRefunds:
		return Result{}, ErrTooManyRefunds
	}
	if err := a.movable(amount.Amount, CounterSales); err != nil {
		return Result{}, err
	}
	h.Refunds = maps.Clone(h.Refunds) // other readers may share past
	if h.Refunds == nil {
		h.Refunds = make(map[string]int64)
	}
	h.Refunds[refundID] = amount.Amount
	h.Refunded += amount.Amount
	a.keep(order.ID, h)
	a.post(Posting{
		Kind: KindRefund, Operation: refundID, OrderID: order.ID, Amount: amount.Amount, CounterAccount: CounterSales, At: now,
	})
	return Result{Outcome: contract.OutcomeRefunded, Changed: true}, nil
}
