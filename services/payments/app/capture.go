package app

import (
	"context"

	"caravan/internal/money"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Capture takes what an order holds out of the wallet.
type Capture struct{ *Ledger }

// Do carries out the command. Its errors are those of [domain.Account.Capture].
func (u Capture) Do(ctx context.Context, c contract.Capture) (contract.Captured, error) {
	order, now := domain.Order{ID: c.OrderID, PlacedAt: c.PlacedAt}, u.clock.Now()
	return u.command(ctx, "capturing", c.UserID, order, func(a *domain.Account, past domain.Past) (domain.Result, error) {
		result, err := a.Capture(order, now, past)
		if result.Changed {
			a.Emit(contract.EventCaptured, now, contract.Moved{
				UserID: c.UserID, OrderID: c.OrderID, Amount: money.New(a.Holds[c.OrderID].Captured, a.Currency),
			})
		}
		return result, err
	})
}
