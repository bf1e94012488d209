// Package app holds the use cases of products, one file each, over the documents of the store.
//
//	product/<sku>              the product with its prices
//	stock/<sku>                the stock of one SKU with its holds by order
//	stock-archive/<sku>/…      finished holds that have left the stock document
//	stock-correction/<sku>/…   corrections that have left it
//	watchlist/<user>           the products that a user watches
//	watchers/<sku>/<bucket>    the users who watch a product
//	directory/head, /<n>       the catalogue index: all products, with what a search needs
package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// decisions is how often a command reads the archive or opens a stock before it fails.
const decisions = 8

// Documents are the aggregates of products in a store.
type Documents struct {
	Store    document.Store
	Products *document.Repository[domain.Product, *domain.Product]
	Stocks   *document.Repository[domain.Stock, *domain.Stock]
	// LowStock is the number of units below which a stock is reported as low; 0 reports none.
	LowStock int64
	// Watchers and Watchlists say who watches which product: see domain.Watchers.
	Watchers   *document.Repository[domain.Watchers, *domain.Watchers]
	Watchlists *document.Repository[domain.Watchlist, *domain.Watchlist]

	clock    clock.Clock
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
	watchers := with("watchers/")
	watchers.Subject = watchers.Prefix
	silent := options
	silent.Index, silent.Relay, silent.Prefix = nil, nil, "directory/"
	lists := silent
	lists.Prefix = "watchlist/"
	return &Documents{
		Store: store, clock: options.Clock,
		Products: document.NewRepository[domain.Product](store, with("product/")),
		// A reserved hold is committed or released within moments.
		Stocks:     document.NewRepository[domain.Stock](store, stock).Warm(func(s *domain.Stock) bool { return s.Reserved > 0 }),
		Watchers:   document.NewRepository[domain.Watchers](store, watchers),
		Watchlists: document.NewRepository[domain.Watchlist](store, lists),
		levels:     document.NewRepository[level](store, with("stock/")),
		heads:      document.NewRepository[domain.CatalogueHead](store, silent),
		segments:   document.NewRepository[domain.CatalogueSegment](store, silent),
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
			changed, err := decide(s, past)
			if err == nil && changed {
				d.checkLow(s, false)
			}
			return unlessChanged(changed, err)
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

// checkLow reports a stock that has become low by a change. restocked says that staff have added units.
func (d *Documents) checkLow(s *domain.Stock, restocked bool) {
	if s.CheckLow(d.LowStock, restocked) {
		s.Emit(contract.EventStockLow, d.clock.Now(), contract.StockLow{SKU: s.SKU, Available: s.Level().Available(), Threshold: d.LowStock})
	}
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
	_, err = d.Stocks.Update(ctx, sku, func(s *domain.Stock) error {
		opened := s.Open(product)
		if opened {
			s.CheckLow(d.LowStock, false) // who creates a product knows its stock
		}
		return unlessChanged(opened, nil)
	})
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
