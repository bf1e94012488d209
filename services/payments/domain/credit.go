package domain

import (
	"time"

	"caravan/internal/money"
)

// Credit books a deposit that the bank has paid. since is the time of the request. A repeat of a deposit id changes nothing.
//
// Errors: ErrAmount, ErrOperationReused, ErrArchive, ErrNotOpen, money.ErrCurrency, money.ErrOverflow.
func (a *Account) Credit(depositID string, amount money.Money, since, now time.Time, past Past) (Result, error) {
	switch {
	case amount.Amount <= 0:
		return Result{}, ErrAmount
	case a.Currency == "":
		return Result{}, ErrNotOpen
	}
	booked, known, err := a.credited(depositID, since, past)
	if err != nil {
		return Result{}, err
	}
	if known {
		if booked.Amount != amount.Amount || a.Currency != amount.Currency {
			return Result{}, ErrOperationReused
		}
		return Result{}, nil
	}
	if _, err := a.Balance().Add(amount); err != nil {
		return Result{}, err
	}
	if err := a.movable(amount.Amount, CounterBank); err != nil {
		return Result{}, err
	}
	a.post(Posting{
		Kind: KindDeposit, Operation: depositID, Amount: amount.Amount, CounterAccount: CounterBank, At: now, Since: since,
	})
	return Result{Changed: true}, nil
}

// credited finds the posting of a deposit in the account or in past.
func (a *Account) credited(depositID string, since time.Time, past Past) (Posting, bool, error) {
	for _, p := range a.Postings {
		if p.Kind == KindDeposit && p.Operation == depositID {
			return p, true, nil
		}
	}
	if !a.Archived.covers(since) {
		return Posting{}, false, nil
	}
	if past.Count != a.Archived.Count {
		return Posting{}, false, ErrArchive
	}
	if past.Posting == nil {
		return Posting{}, false, nil
	}
	return *past.Posting, true, nil
}
