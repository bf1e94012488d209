package app

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// ReleaseStock gives the held units of orders back.
type ReleaseStock struct{ Shop *Shop }

// Do releases the holds of an order on all its SKUs, once. From then on the order cannot hold any.
func (u ReleaseStock) Do(ctx context.Context, command contract.Release) (contract.Released, error) {
	order := domain.Order{ID: command.OrderID, PlacedAt: command.PlacedAt}
	holds, err := u.Shop.endAll(ctx, order, command.SKUs, release(domain.ByOrder))
	if err != nil {
		return contract.Released{}, err
	}
	for _, hold := range holds {
		if hold.State == domain.Committed {
			return contract.Released{Outcome: contract.OutcomeCommitted}, nil
		}
	}
	return contract.Released{Outcome: contract.OutcomeReleased}, nil
}

// ending is Commit or Release of a stock.
type ending func(*domain.Stock, domain.Order, *domain.Past) (domain.Hold, bool, error)

func release(reason domain.Reason) ending {
	return func(d *domain.Stock, o domain.Order, past *domain.Past) (domain.Hold, bool, error) {
		return d.Release(o, reason, past)
	}
}

// endAll ends the holds of an order on all SKUs at once. On a SKU without a product there is nothing to end: if the product
// is created later, the order is older than its stock and cannot reserve it.
func (s *Shop) endAll(ctx context.Context, order domain.Order, skus []string, end ending) ([]domain.Hold, error) {
	holds := make([]domain.Hold, len(skus))
	group, ctx := errgroup.WithContext(ctx)
	for i, sku := range skus {
		group.Go(func() error {
			stock, err := s.documents.stock(ctx, sku, order, func(d *domain.Stock, past *domain.Past) (changed bool, err error) {
				holds[i], changed, err = end(d, order, past)
				return changed, err
			})
			if errors.Is(err, domain.ErrNoProduct) {
				holds[i] = domain.Hold{OrderID: order.ID, State: domain.Released}
				return nil
			}
			if err != nil {
				return fmt.Errorf("ending the hold on %s: %w", sku, err)
			}
			s.cache.putLevel(stock)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return holds, nil
}
