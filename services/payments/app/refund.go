package app

import (
	"context"

	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Refund returns a part of what an order captured to the wallet.
type Refund struct{ *Ledger }

// Do carries out the command. Its errors are those of [domain.Account.Refund].
func (u Refund) Do(ctx context.Context, c contract.Refund) (contract.Refunded, error) {
	order, now := domain.Order{ID: c.OrderID, PlacedAt: c.PlacedAt}, u.clock.Now()
	return u.command(ctx, "refunding", c.UserID, order, func(a *domain.Account, past domain.Past) (domain.Result, error) {
		result, err := a.Refund(order, c.RefundID, c.Amount, now, past)
		if result.Changed {
			a.Emit(contract.EventRefunded, now, contract.Moved{
				UserID: c.UserID, OrderID: c.OrderID, RefundID: c.RefundID, Amount: c.Amount,
			})
		}
		return result, err
	})
}
