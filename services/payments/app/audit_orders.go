package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"caravan/internal/document"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Orders answers what orders did to wallets, wherever their holds are by now.
func (a *Audit) Orders(ctx context.Context, asked contract.OrdersRequest) (contract.Orders, error) {
	byUser := make(map[string][]contract.OrderRef)
	for _, o := range asked.Orders {
		byUser[o.UserID] = append(byUser[o.UserID], o)
	}
	ledger := *a.ledger
	ledger.store = document.NewMemo(ledger.store) // neighbouring orders lie in the same segments
	found := contract.Orders{Orders: []contract.OrderMoney{}}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(byUser)), auditAccounts) {
		accounts, err := ledger.accounts.GetMany(ctx, part...)
		if err != nil {
			return contract.Orders{}, fmt.Errorf("reading accounts: %w", err)
		}
		for _, userID := range part {
			for _, o := range byUser[userID] {
				h, err := ledger.holdOf(ctx, accounts[userID], o)
				if err != nil {
					return contract.Orders{}, fmt.Errorf("looking for order %s: %w", o.OrderID, err)
				}
				if h != nil {
					found.Orders = append(found.Orders, moneyOf(accounts[userID], o.OrderID, *h))
				}
			}
		}
	}
	return found, nil
}

// holdOf finds the youngest version of an order's hold; it is nil if there is none. A damaged archive has none: its own
// audit reports it.
func (l *Ledger) holdOf(ctx context.Context, account *domain.Account, o contract.OrderRef) (*domain.Hold, error) {
	if account == nil {
		return nil, nil
	}
	if h, ok := account.Holds[o.OrderID]; ok {
		return &h, nil
	}
	var found *domain.Hold
	within := func(p domain.Part) bool { return p.Covers(o.PlacedAt) }
	err := l.walk(ctx, account, within, func(_ domain.Place, s domain.Segment) bool {
		if h, ok := s.Holds[o.OrderID]; ok {
			found = &h
		}
		return found == nil
	})
	if errors.Is(err, document.ErrArchive) {
		return nil, nil
	}
	return found, err
}
