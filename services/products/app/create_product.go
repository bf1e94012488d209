package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// CreateProduct puts products into the catalogue.
type CreateProduct struct {
	Shop *Shop
	// Currency is the only one that the shop sells in, an ISO 4217 code.
	Currency string
}

// Do creates a product with its initial stock. Errors: [domain.Violations], [domain.ErrExists], [domain.ErrFull].
//
// The catalogue index lists the product before it exists, so that a crash in between leaves at worst an entry without a
// product. The stock is opened from the product, by the first process that needs it.
func (u CreateProduct) Do(ctx context.Context, draft domain.Draft) (Item, error) {
	s := u.Shop
	now := s.clock.Now()
	if err := draft.Check(u.Currency, now); err != nil {
		return Item{}, err
	}
	if _, err := s.documents.Products.Get(ctx, draft.SKU); !errors.Is(err, document.ErrNotFound) {
		if err == nil {
			err = domain.ErrExists
		}
		return Item{}, fmt.Errorf("creating product %s: %w", draft.SKU, err)
	}
	preview := new(domain.Product)
	if err := preview.Create(draft, now); err != nil {
		return Item{}, err
	}
	if err := s.index.add(ctx, domain.EntryOf(preview)); err != nil {
		return Item{}, err
	}
	product, err := s.documents.Products.Update(ctx, draft.SKU, func(p *domain.Product) error {
		if err := p.Create(draft, now); err != nil {
			return err
		}
		p.Emit(contract.EventCreated, now, contract.ProductCreated{SKU: p.SKU, Name: p.Name, Category: p.Category, Price: p.Price})
		return nil
	})
	if err != nil {
		return Item{}, fmt.Errorf("creating product %s: %w", draft.SKU, err)
	}
	s.cache.putProduct(product)
	return s.complete(ctx, product)
}

// complete opens the stock of a product and updates its entry in the catalogue index.
func (s *Shop) complete(ctx context.Context, product *domain.Product) (Item, error) {
	if err := s.documents.open(ctx, product.SKU); err != nil {
		return Item{}, err
	}
	if err := s.index.show(ctx, product); err != nil {
		return Item{}, err
	}
	items, err := s.cache.items(ctx, product.SKU)
	if err != nil {
		return Item{}, err
	}
	return items[product.SKU], nil
}
