package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/internal/money"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Deposit moves money from a bank into a wallet.
type Deposit struct{ *Deposits }

// DepositRequest asks for a deposit.
type DepositRequest struct {
	UserID string
	// Key is the client's Idempotency-Key. The id of the deposit follows from it and UserID.
	Key string
	// Fingerprint is the digest of the body of the request.
	Fingerprint string
	Amount      money.Money
	Source      string
}

// CurrencyError is returned for a deposit in another currency than that of the wallet.
type CurrencyError struct {
	// Wallet is the currency of the wallet.
	Wallet string
}

// Error implements error.
func (e *CurrencyError) Error() string { return "the currency of the wallet is " + e.Wallet }

// Do makes a deposit, or continues the one that the same key made before. It returns the deposit as it is: pending if the
// bank has not answered yet. The worker ends a deposit that is left pending.
//
// Its error is *CurrencyError, or domain.ErrKeyReused if the key was used with another body.
func (u Deposit) Do(ctx context.Context, r DepositRequest) (*domain.Deposit, error) {
	depositID := DepositID(r.UserID, r.Key)
	deposit, err := u.Documents.Get(ctx, depositID)
	if errors.Is(err, document.ErrNotFound) {
		if err := u.matchCurrency(ctx, r); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, fmt.Errorf("reading deposit: %w", err)
	}
	known := deposit != nil
	if deposit, err = u.request(ctx, depositID, r); err != nil {
		return nil, err
	}
	if deposit.Status != domain.DepositPending {
		return deposit, nil
	}
	if deposit, err = u.settle(ctx, deposit, known); err == nil && deposit.Status == domain.DepositPending {
		select {
		case u.unanswered <- depositID:
		default:
		}
	}
	return deposit, err
}

// matchCurrency opens the wallet and refuses money in another currency before anybody is charged.
func (u Deposit) matchCurrency(ctx context.Context, r DepositRequest) error {
	account, err := u.ledger.open(ctx, r.UserID)
	if err != nil {
		return err
	}
	if account.Currency != r.Amount.Currency {
		return &CurrencyError{account.Currency}
	}
	return nil
}

// request stores the request, once.
func (u Deposit) request(ctx context.Context, depositID string, r DepositRequest) (*domain.Deposit, error) {
	asked := domain.Deposit{
		ID: depositID, UserID: r.UserID, Key: r.Key, Amount: r.Amount, Source: r.Source, Fingerprint: r.Fingerprint, CreatedAt: u.clock.Now(),
	}
	deposit, err := u.Documents.Update(ctx, depositID, func(doc *domain.Deposit) error {
		first, err := doc.Request(asked)
		if err != nil {
			return err
		}
		if !first {
			return document.ErrUnchanged
		}
		doc.Emit(contract.EventDepositPending, asked.CreatedAt, contract.Moved{UserID: r.UserID, DepositID: depositID, Amount: r.Amount})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("storing deposit: %w", err)
	}
	return deposit, nil
}
