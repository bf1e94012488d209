package app

import (
	"context"
	"fmt"

	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Authorize holds an amount for an order in a wallet.
type Authorize struct{ *Ledger }

// Do carries out the command. Its errors are those of [domain.Account.Authorize].
func (u Authorize) Do(ctx context.Context, c contract.Authorize) (contract.Authorized, error) {
	order := domain.Order{ID: c.OrderID, PlacedAt: c.PlacedAt}
	result, err := u.operate(ctx, c.UserID, wantedOrder(order), func(a *domain.Account, past domain.Past) (domain.Result, error) {
		return a.Authorize(order, c.Amount, past)
	})
	if err != nil {
		return contract.Authorized{}, fmt.Errorf("authorizing order %s: %w", c.OrderID, err)
	}
	return contract.Authorized{Outcome: string(result.Outcome)}, nil
}

func wantedOrder(order domain.Order) wanted {
	return wanted{order: order.ID, instant: order.PlacedAt}
}
