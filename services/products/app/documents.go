// Package app holds the use cases of products, one file each, over the documents of the store.
//
//	product/<sku>              the product with its prices
//	stock/<sku>                the stock of one SKU with its holds by order
//	stock-archive/<sku>/…      finished holds that have left the stock document
//	stock-correction/<sku>/…   corrections that have left it
//	directory/head, /<n>       the catalogue index: all products, with what a search needs
package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/products/domain"
)

// decisions is how often a command reads the archive or opens a stock before it fails.
const decisions = 8

// Documents are the aggregates of products in a store.
type Documents struct {
	Store    document.Store
	Products *document.Repository[domain.Product, *domain.Product]
	Stocks   *document.Repository[domain.Stock, *domain.Stock]
	levels   *document.Repository[level, *level]
	heads    *document.Repository[domain.CatalogueHead, *domain.CatalogueHead]
	segments *document.Repository[domain.CatalogueSegment, *domain.CatalogueSegment]
}

// level reads the few numbers of a stock document that the catalogue shows. It does not decode the holds.
type level struct {
	document.Root
	OnHand     int64 `json:"onHand"`
	Reserved   int64 `json:"reserved"`
	NextExpiry int64 `json:"nextExpiry"`
}

// NewDocuments makes the repositories of a store. The options' Index and Relay carry the events of products and stocks.
func NewDocuments(store document.Store, options document.Options) *Documents {
	with := func(prefix string) document.Options {
		o := options
		o.Prefix = prefix
		return o
	}
	stock := with("stock/")
	stock.Subject = stock.Prefix // the product's events have the SKU itself
	silent := options
	silent.Index, silent.Relay, silent.Prefix = nil, nil, "directory/"
	return &Documents{
		Store:    store,
		Products: document.NewRepository[domain.Product](store, with("product/")),
		// A reserved hold is committed or released within moments.
		Stocks:   document.NewRepository[domain.Stock](store, stock).Warm(func(s *domain.Stock) bool { return s.Reserved > 0 }),
		levels:   document.NewRepository[level](store, with("stock/")),
		heads:    document.NewRepository[domain.CatalogueHead](store, silent),
		segments: document.NewRepository[domain.CatalogueSegment](store, silent),
	}
}

// stock runs a decision about one order on the stock of a SKU. It opens the stock of a product that has none yet, and
// searches the archive if the decision needs it. Errors: [domain.ErrNoProduct] and those of the decision.
func (d *Documents) stock(ctx context.Context, sku string, o domain.Order, decide func(*domain.Stock, *domain.Past) (bool, error)) (*domain.Stock, error) {
	if !id.ValidSKU(sku) {
		return nil, domain.ErrNoProduct
	}
	var past *domain.Past
	for range decisions {
		stock, err := d.Stocks.Update(ctx, sku, func(s *domain.Stock) error {
			return unlessChanged(decide(s, past))
		})
		switch {
		case errors.Is(err, domain.ErrNotOpen):
			err = d.open(ctx, sku)
		case errors.Is(err, domain.ErrPast):
			past, err = d.past(ctx, sku, o)
		default:
			return stock, err
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("stock of %s: the archive changes all the time: %w", sku, document.ErrUnknown)
}

// unlessChanged turns the result of a decision into the error that the repository expects.
func unlessChanged(changed bool, err error) error {
	if err == nil && !changed {
		return document.ErrUnchanged
	}
	return err
}

// open writes the stock document of a product, if the product exists.
func (d *Documents) open(ctx context.Context, sku string) error {
	product, err := d.Products.Get(ctx, sku)
	if errors.Is(err, document.ErrNotFound) {
		return domain.ErrNoProduct
	}
	if err != nil {
		return fmt.Errorf("opening the stock of %s: %w", sku, err)
	}
	_, err = d.Stocks.Update(ctx, sku, func(s *domain.Stock) error { return unlessChanged(s.Open(product), nil) })
	if err != nil {
		return fmt.Errorf("opening the stock of %s: %w", sku, err)
	}
	return nil
}

// past looks for the hold of an order in the archive of a SKU.
func (d *Documents) past(ctx context.Context, sku string, o domain.Order) (*domain.Past, error) {
	stock, err := d.Stocks.Get(ctx, sku)
	if err != nil {
		return nil, fmt.Errorf("reading the archive of %s: %w", sku, err)
	}
	past := &domain.Past{Leaves: stock.Archived.Leaves}
	past.Hold, err = d.Archived(ctx, stock, o)
	return past, err
}

// Archived finds the hold of an order in the archive of a stock; it is nil if there is none.
func (d *Documents) Archived(ctx context.Context, stock *domain.Stock, o domain.Order) (found *domain.Hold, err error) {
	walk := ArchiveOf(d.Store, stock)
	walk.Within = func(r domain.ArchiveRef, _ int) bool { return r.Summary.MayHave(o) }
	err = document.Leaves(ctx, &stock.Archived.Tree, walk, func(_ domain.ArchiveRef, leaf domain.Leaf) bool {
		if hold, there := leaf.Find(o); there {
			found = &hold
		}
		return found == nil
	})
	return found, err
}

// ArchiveOf walks the archive of a stock.
func ArchiveOf(store document.Store, stock *domain.Stock) document.Walk[domain.Span] {
	return document.Walk[domain.Span]{Store: store, Prefix: domain.ArchivePrefix(stock.SKU), Root: &stock.Root}
}

// pastCorrection looks for a correction that has left the stock document.
func (d *Documents) pastCorrection(ctx context.Context, sku, key string) (*domain.PastCorrection, error) {
	stock, err := d.Stocks.Get(ctx, sku)
	if err != nil {
		return nil, fmt.Errorf("reading the corrections of %s: %w", sku, err)
	}
	past := &domain.PastCorrection{Archived: stock.CorrectionsArchived}
	var found domain.Correction
	exists, err := document.ReadArchive(ctx, d.Store, &stock.Root, domain.CorrectionKey(sku, key), &found)
	if err != nil {
		return nil, fmt.Errorf("reading the corrections of %s: %w", sku, err)
	}
	if exists {
		past.Found = &found
	}
	return past, nil
}
