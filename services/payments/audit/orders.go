package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"caravan/internal/document"
	"caravan/services/payments/app"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Orders returns what orders did to wallets, by their holds in accounts and archives.
func (a Audit) Orders(ctx context.Context, asked contract.OrdersRequest) (contract.Orders, error) {
	byUser := make(map[string][]contract.OrderRef)
	for _, o := range asked.Orders {
		byUser[o.UserID] = append(byUser[o.UserID], o)
	}
	ledger := a.Ledger.Memo() // orders of the same time are in the same segments
	found := contract.Orders{Orders: []contract.OrderMoney{}}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(byUser)), accountsPerPage) {
		accounts, err := ledger.Accounts.GetMany(ctx, part...)
		if err != nil {
			return contract.Orders{}, fmt.Errorf("reading accounts: %w", err)
		}
		for _, userID := range part {
			for _, o := range byUser[userID] {
				h, err := holdOf(ctx, ledger, accounts[userID], o)
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

// holdOf finds the youngest version of an order's hold. It is nil if there is none, or if the archive is damaged, which the
// audit of the account reports.
func holdOf(ctx context.Context, l *app.Ledger, account *domain.Account, o contract.OrderRef) (*domain.Hold, error) {
	if account == nil {
		return nil, nil
	}
	if h, ok := account.Holds[o.OrderID]; ok {
		return &h, nil
	}
	var found *domain.Hold
	within := func(p domain.Part) bool { return p.Covers(o.PlacedAt) }
	err := l.Walk(ctx, account, within, func(_ domain.Place, s domain.Segment) bool {
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
