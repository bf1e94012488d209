package app

import (
	"context"
	"fmt"

	"caravan/internal/id"
	"caravan/services/products/domain"
)

// GetProduct reads one product.
type GetProduct struct{ Shop *Shop }

// Do returns a product and its stock, which may be as old as the Shop allows. Error: [domain.ErrNoProduct].
func (u GetProduct) Do(ctx context.Context, sku string) (Item, error) {
	s := u.Shop
	if !id.ValidSKU(sku) {
		return Item{}, domain.ErrNoProduct
	}
	// A product that is not listed is not looked up in the store, so that invented SKUs cost no read.
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
