package app

import (
	"context"

	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// CommitStock takes the held units of orders out of the stock.
type CommitStock struct{ Shop *Shop }

// Do commits the holds of an order on all its SKUs, once.
func (u CommitStock) Do(ctx context.Context, command contract.Commit) (contract.Committed, error) {
	order := domain.Order{ID: command.OrderID, PlacedAt: command.PlacedAt}
	holds, err := u.Shop.endAll(ctx, order, command.SKUs, (*domain.Stock).Commit)
	if err != nil {
		return contract.Committed{}, err
	}
	for _, hold := range holds {
		if hold.State != domain.Committed {
			return contract.Committed{Outcome: contract.OutcomeReleased}, nil
		}
	}
	return contract.Committed{Outcome: contract.OutcomeCommitted}, nil
}
