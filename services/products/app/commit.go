package app

import (
	"context"

	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// Commit takes the held units of an order out of the stock of every SKU, once.
func (s *Shop) Commit(ctx context.Context, command contract.Commit) (contract.Committed, error) {
	if err := checkEnd(command.OrderID, command.SKUs, command.PlacedAt); err != nil {
		return contract.Committed{}, err
	}
	order := domain.Order{ID: command.OrderID, PlacedAt: command.PlacedAt}
	holds, err := s.endAll(ctx, order, command.SKUs, (*domain.Stock).Commit)
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
