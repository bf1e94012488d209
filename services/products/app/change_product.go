package app

import (
	"context"
	"fmt"

	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// ChangeProduct applies a change to a product. A change of nothing leaves the version as it is. Errors:
// [domain.ErrNoProduct], [domain.Violations].
func (s *Shop) ChangeProduct(ctx context.Context, sku string, change domain.Change) (Item, error) {
	now := s.clock.Now()
	product, err := s.documents.products.Update(ctx, sku, func(p *domain.Product) error {
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
	return s.complete(ctx, product)
}
