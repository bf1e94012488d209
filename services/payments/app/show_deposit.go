package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/services/payments/domain"
)

// ShowDeposit shows users their deposits.
type ShowDeposit struct{ *Deposits }

// Do returns a deposit of a user. Its error is domain.ErrNoDeposit, also for a deposit of another user.
func (u ShowDeposit) Do(ctx context.Context, userID, depositID string) (*domain.Deposit, error) {
	deposit, err := u.Documents.Get(ctx, depositID)
	if errors.Is(err, document.ErrNotFound) || err == nil && deposit.UserID != userID {
		return nil, domain.ErrNoDeposit
	}
	if err != nil {
		return nil, fmt.Errorf("reading deposit: %w", err)
	}
	return deposit, nil
}
