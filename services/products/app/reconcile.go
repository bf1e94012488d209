package app

import (
	"context"
	"fmt"

	"caravan/services/products/domain"
)

// Reconcile repairs what a crash between two documents left behind: a segment that was not announced, an entry that
// does not show its product, a product without stock, watchers who do not know that a price fell. It also
// finds prices that fell or rose by a schedule.
type Reconcile struct {
	Shop  *Shop
	Drops *PriceDrops
}

// Run visits every product once. It writes nothing if nothing has to be repaired.
func (u Reconcile) Run(ctx context.Context) error {
	s := u.Shop
	if err := s.index.announceMissed(ctx); err != nil {
		return err
	}
	return s.visit(ctx, func(skus []string) error {
		products, err := s.documents.Products.GetMany(ctx, skus...)
		if err != nil {
			return fmt.Errorf("reconciling the catalogue index: %w", err)
		}
		levels, err := s.documents.levels.GetMany(ctx, skus...)
		if err != nil {
			return fmt.Errorf("reconciling the stocks: %w", err)
		}
		for _, sku := range skus {
			product, ok := products[sku]
			if !ok {
				continue
			}
			if err := s.index.show(ctx, product); err != nil {
				return err
			}
			if err := u.watched(ctx, product); err != nil {
				return err
			}
			if _, open := levels[sku]; !open {
				if err := s.documents.open(ctx, sku); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// watched compares the price of a product with the one that its watchers know.
func (u Reconcile) watched(ctx context.Context, product *domain.Product) error {
	now := u.Shop.clock.Now()
	old, price, dropped := product.Dropped(now)
	switch {
	case dropped:
		u.Drops.Begin(product.SKU)
	case product.Watched != 0 && price.Amount > old.Amount:
		_, err := u.Shop.documents.Products.Update(ctx, product.SKU, func(p *domain.Product) error { return p.Risen(now) })
		if err != nil {
			return fmt.Errorf("recording the price that watchers of %s know: %w", product.SKU, err)
		}
	}
	return nil
}
