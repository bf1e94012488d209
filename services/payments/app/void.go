package app

import (
	"context"

	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Void releases what an order holds. The order can hold nothing afterwards.
type Void struct{ *Ledger }

// Do carries out the command. Its errors are those of [domain.Account.Void].
func (u Void) Do(ctx context.Context, c contract.Void) (contract.Voided, error) {
	order := domain.Order{ID: c.OrderID, PlacedAt: c.PlacedAt}
	return u.command(ctx, "voiding", c.UserID, order, func(a *domain.Account, past domain.Past) (domain.Result, error) {
		return a.Void(order, past)
	})
}
