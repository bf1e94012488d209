package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/internal/money"
)

// Wallet is what a user sees of an account.
type Wallet struct {
	// Balance is what the user owns, Held what is held for orders, Available the difference.
	Balance   money.Money `json:"balance"`
	Held      money.Money `json:"held"`
	Available money.Money `json:"available"`
}

// ShowWallet shows users what they own.
type ShowWallet struct{ *Ledger }

// Do returns the wallet of a user. A wallet that was never used is empty.
func (u ShowWallet) Do(ctx context.Context, userID string) (Wallet, error) {
	account, err := u.Accounts.Get(ctx, userID)
	if errors.Is(err, document.ErrNotFound) {
		none := money.New(0, u.currency)
		return Wallet{Balance: none, Held: none, Available: none}, nil
	}
	if err != nil {
		return Wallet{}, fmt.Errorf("reading wallet: %w", err)
	}
	return Wallet{
		Balance: account.Balance(), Held: money.New(account.Held, account.Currency), Available: account.Available(),
	}, nil
}
