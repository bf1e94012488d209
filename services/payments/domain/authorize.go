package domain

import (
	"caravan/internal/money"
	"caravan/services/payments/contract"
)

// Authorize holds an amount for an order if it is available. If not, it writes a tombstone with the amounts of the decision:
// the refusal is final, and the audit can distinguish it from a call that was never answered. A repeat gets the same answer.
// An order that was voided stays voided, also if the void came first.
//
// Errors: ErrAmount, ErrOperationReused, ErrTooManyHolds, ErrArchive, ErrNotOpen.
func (a *Account) Authorize(order Order, amount money.Money, past Past) (Result, error) {
	if amount.Amount < 0 {
		return Result{}, ErrAmount
	}
	h, known, err := a.hold(order, past)
	if err != nil {
		return Result{}, err
	}
	if known {
		return a.authorizeAgain(h, amount)
	}
	if a.Currency == "" {
		return Result{}, ErrNotOpen
	}
	available := a.Available().Amount
	if amount.Currency != a.Currency {
		available = 0
	}
	if amount.Currency != a.Currency || amount.Amount > available {
		a.keep(order.ID, Hold{State: Voided, Reason: contract.RefusedFunds, Wanted: amount.Amount, Available: available, PlacedAt: order.PlacedAt})
		return Result{Outcome: contract.OutcomeInsufficientFunds, Changed: true}, nil
	}
	if a.active() >= MaxActiveHolds {
		return Result{}, ErrTooManyHolds
	}
	a.keep(order.ID, Hold{State: Authorized, Amount: amount.Amount, PlacedAt: order.PlacedAt})
	a.Held += amount.Amount // at most the balance, so it cannot overflow
	return Result{Outcome: contract.OutcomeAuthorized, Changed: true}, nil
}

// AuthorizeEarly is Authorize for an order that may not be fulfilled. If the amount is not available, it changes nothing, and the
// answer is not final.
func (a *Account) AuthorizeEarly(order Order, amount money.Money, past Past) (Result, error) {
	if a.Currency != "" && (amount.Currency != a.Currency || amount.Amount > a.Available().Amount) {
		if _, known, err := a.hold(order, past); err != nil || !known {
			return Result{Outcome: contract.OutcomeInsufficientFunds}, err
		}
	}
	return a.Authorize(order, amount, past)
}

// authorizeAgain answers for an order that the account knows.
func (a *Account) authorizeAgain(h Hold, amount money.Money) (Result, error) {
	tombstone := h.State == Voided && h.Amount == 0
	if !tombstone && (h.Amount != amount.Amount || a.Currency != amount.Currency) {
		return Result{}, ErrOperationReused
	}
	if h.refused() {
		return Result{Outcome: contract.OutcomeInsufficientFunds}, nil
	}
	if h.State == Voided {
		return Result{Outcome: contract.OutcomeVoided}, nil
	}
	return Result{Outcome: contract.OutcomeAuthorized}, nil
}
