package app

import (
	"context"
	"fmt"

	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Refund puts a part of what an order captured back into the wallet.
func (l *Ledger) Refund(ctx context.Context, c contract.Refund) (contract.Refunded, error) {
	order, now := domain.Order{ID: c.OrderID, PlacedAt: c.PlacedAt}, l.clock.Now()
	result, err := l.operate(ctx, c.UserID, wantedOrder(order), func(a *domain.Account, past domain.Past) (domain.Result, error) {
		result, err := a.Refund(order, c.RefundID, c.Amount, now, past)
		if result.Changed {
			a.Emit(contract.EventRefunded, now, contract.Moved{
				UserID: c.UserID, OrderID: c.OrderID, RefundID: c.RefundID, Amount: c.Amount,
			})
		}
		return result, err
	})
	if err != nil {
		return contract.Refunded{}, fmt.Errorf("refunding order %s: %w", c.OrderID, err)
	}
	return contract.Refunded{Outcome: string(result.Outcome)}, nil
}
