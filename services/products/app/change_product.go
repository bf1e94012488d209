package app

import (
	"context"
	"fmt"

	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// ChangeProduct changes what customers see of products.
type ChangeProduct struct {
	Shop *Shop
	// Drops informs the users who watch a product that becomes cheaper.
	Drops *PriceDrops
}

// Do applies a change to a product. If nothing differs, the version stays. Errors: [domain.ErrNoProduct],
// [domain.Violations].
func (u ChangeProduct) Do(ctx context.Context, sku string, change domain.Change) (Item, error) {
	s := u.Shop
	now := s.clock.Now()
	product, err := s.documents.Products.Update(ctx, sku, func(p *domain.Product) error {
		fields, err := p.Apply(change, now)
		if err == nil && len(fields) > 0 {
			p.Emit(contract.EventChanged, now, contract.ProductChanged{SKU: p.SKU, Version: p.Version, Fields: fields, Price: p.CurrentPrice(now)})
		}
		return unlessChanged(len(fields) > 0, err)
	})
	if err != nil {
		return Item{}, fmt.Errorf("changing product %s: %w", sku, err)
	}
	s.cache.putProduct(product)
	if _, _, dropped := product.Dropped(now); dropped {
		u.Drops.Begin(sku)
	}
	return s.complete(ctx, product)
}
