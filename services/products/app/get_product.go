package app

import (
	"context"
	"fmt"

	"caravan/internal/id"
	"caravan/services/products/domain"
)

// Product gives a product and its stock as they were at most ReadAge ago. Error: [domain.ErrNoProduct].
func (s *Shop) Product(ctx context.Context, sku string) (Item, error) {
	if !id.ValidSKU(sku) {
		return Item{}, domain.ErrNoProduct
	}
	// A product that is on no list is not looked for in the store, so that made-up SKUs cost nothing.
	seen, err := s.index.current(ctx)
	if err != nil {
		return Item{}, err
	}
	if _, _, listed := seen.Entry(sku); !listed {
		return Item{}, fmt.Errorf("product %s: %w", sku, domain.ErrNoProduct)
	}
	items, err := s.cache.items(ctx, sku)
	if err != nil {
		return Item{}, err
	}
	item, found := items[sku]
	if !found {
		return Item{}, fmt.Errorf("product %s: %w", sku, domain.ErrNoProduct)
	}
	return item, nil
}
