package app

import (
	"context"

	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Authorize holds an amount for an order in a wallet.
type Authorize struct{ *Ledger }

// Do carries out the command, and emits an event if the amount is refused for good. Its errors are those of
// [domain.Account.Authorize].
func (u Authorize) Do(ctx context.Context, c contract.Authorize) (contract.Authorized, error) {
	order, now := domain.Order{ID: c.OrderID, PlacedAt: c.PlacedAt}, u.clock.Now()
	return u.command(ctx, "authorizing", c.UserID, order, func(a *domain.Account, past domain.Past) (domain.Result, error) {
		if c.Early {
			return a.AuthorizeEarly(order, c.Amount, past)
		}
		result, err := a.Authorize(order, c.Amount, past)
		if result.Changed && result.Outcome == contract.OutcomeInsufficientFunds {
			a.Emit(contract.EventDeclined, now, contract.Moved{UserID: c.UserID, OrderID: c.OrderID, Amount: c.Amount})
		}
		return result, err
	})
}
