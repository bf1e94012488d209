package app

import (
	"context"
	"fmt"
)

// Reconcile repairs what a crash between two documents left behind: a segment that was not announced, an entry that
// does not show its product, a product without stock.
type Reconcile struct{ Shop *Shop }

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
			if _, open := levels[sku]; !open {
				if err := s.documents.open(ctx, sku); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
