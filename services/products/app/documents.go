// Package app holds the use cases of products, one file each, over the documents of the store.
//
//	product/<sku>              the product with its prices
//	stock/<sku>                the stock of one SKU with its holds by order
//	stock-archive/<sku>/…      finished holds that have left the stock document
//	stock-correction/<sku>/…   corrections that have left it
//	directory/head, /<n>       which products there are, with what a search needs
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/products/domain"
)

// decisions bounds how often a command consults the archive or opens a stock before it gives up.
const decisions = 8

// Documents are the aggregates of products in a store.
type Documents struct {
	store    document.Store
	products *document.Repository[domain.Product, *domain.Product]
	stocks   *document.Repository[domain.Stock, *domain.Stock]
	levels   *document.Repository[level, *level]
	heads    *document.Repository[domain.DirectoryHead, *domain.DirectoryHead]
	segments *document.Repository[domain.DirectorySegment, *domain.DirectorySegment]
}

// level reads the few numbers of a stock document that the catalogue shows, without decoding its holds.
type level struct {
	document.Root
	OnHand     int64 `json:"onHand"`
	Reserved   int64 `json:"reserved"`
	NextExpiry int64 `json:"nextExpiry"`
}

// NewDocuments finds the aggregates in a store. The options' Index and Relay carry the events of products and stocks.
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
		store:    store,
		products: document.NewRepository[domain.Product](store, with("product/")),
		// A reserved hold is committed or released within moments.
		stocks:   document.NewRepository[domain.Stock](store, stock).Warm(func(s *domain.Stock) bool { return s.Reserved > 0 }),
		levels:   document.NewRepository[level](store, with("stock/")),
		heads:    document.NewRepository[domain.DirectoryHead](store, silent),
		segments: document.NewRepository[domain.DirectorySegment](store, silent),
	}
}

// stock runs a decision about one order on the stock of a SKU. It opens the stock of a product that has none yet, and
// looks into the archive when the decision asks for it. Errors: [domain.ErrNoProduct] and those of the decision.
func (d *Documents) stock(ctx context.Context, sku string, o domain.Order, decide func(*domain.Stock, *domain.Past) (bool, error)) (*domain.Stock, error) {
	if !id.ValidSKU(sku) {
		return nil, domain.ErrNoProduct
	}
	var past *domain.Past
	for range decisions {
		stock, err := d.stocks.Update(ctx, sku, func(s *domain.Stock) error {
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
	return nil, fmt.Errorf("stock of %s: the archive keeps moving: %w", sku, document.ErrUnknown)
}

// unlessChanged turns the answer of a decision into what the repository understands.
func unlessChanged(changed bool, err error) error {
	if err == nil && !changed {
		return document.ErrUnchanged
	}
	return err
}

// open writes the stock document of a product, if the product exists.
func (d *Documents) open(ctx context.Context, sku string) error {
	product, err := d.products.Get(ctx, sku)
	if errors.Is(err, document.ErrNotFound) {
		return domain.ErrNoProduct
	}
	if err != nil {
		return fmt.Errorf("opening the stock of %s: %w", sku, err)
	}
	_, err = d.stocks.Update(ctx, sku, func(s *domain.Stock) error { return unlessChanged(s.Open(product), nil) })
	if err != nil {
		return fmt.Errorf("opening the stock of %s: %w", sku, err)
	}
	return nil
}

// past looks for the hold of an order in the archive of a SKU.
func (d *Documents) past(ctx context.Context, sku string, o domain.Order) (*domain.Past, error) {
	stock, err := d.stocks.Get(ctx, sku)
	if err != nil {
		return nil, fmt.Errorf("reading the archive of %s: %w", sku, err)
	}
	past := &domain.Past{Leaves: stock.Archived.Leaves}
	past.Hold, err = d.archived(ctx, stock, o)
	return past, err
}

// archived finds the hold of an order in the archive of a stock; it is nil if there is none.
func (d *Documents) archived(ctx context.Context, stock *domain.Stock, o domain.Order) (*domain.Hold, error) {
	for level, refs := range stock.Archived.Levels {
		hold, err := d.search(ctx, stock, domain.Candidates(refs, o), level, o)
		if hold != nil || err != nil {
			return hold, err
		}
	}
	return nil, nil
}

// search looks for the hold of an order below some references of one level.
func (d *Documents) search(ctx context.Context, stock *domain.Stock, refs []domain.Ref, level int, o domain.Order) (*domain.Hold, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	if level == 0 {
		leaves, err := load[domain.Leaf](ctx, d.store, stock, refs, 0)
		if err != nil {
			return nil, err
		}
		for _, leaf := range leaves {
			if hold, found := leaf.Find(o); found {
				return &hold, nil
			}
		}
		return nil, nil
	}
	nodes, err := load[domain.Node](ctx, d.store, stock, refs, level)
	if err != nil {
		return nil, err
	}
	var below []domain.Ref
	for _, node := range nodes {
		below = append(below, domain.Candidates(node.Refs, o)...)
	}
	return d.search(ctx, stock, below, level-1, o)
}

// load reads archive documents in the order of their references. Until the write after the one that archived it, a
// document is still in the stock itself; after that, one that is missing is damage.
func load[T any](ctx context.Context, store document.Store, stock *domain.Stock, refs []domain.Ref, level int) ([]T, error) {
	values := make(map[string][]byte, len(refs))
	for _, s := range stock.Sealed {
		values[s.Key] = s.Value
	}
	var keys []string
	for _, r := range refs {
		if key := r.Key(stock.SKU, level); values[key] == nil {
			keys = append(keys, key)
		}
	}
	if len(keys) > 0 {
		records, err := store.Get(ctx, keys...)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", keys[0], err)
		}
		for key, record := range records {
			values[key] = record.Value
		}
	}
	documents := make([]T, len(refs))
	for i, r := range refs {
		key := r.Key(stock.SKU, level)
		if values[key] == nil {
			return nil, fmt.Errorf("%w: %s", errArchive, key)
		}
		if err := json.Unmarshal(values[key], &documents[i]); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errArchive, key, err)
		}
	}
	return documents, nil
}

// errArchive says that an archive document is missing or cannot be read.
var errArchive = errors.New("an archive document is damaged")

// pastCorrection looks for a correction that has left the stock document.
func (d *Documents) pastCorrection(ctx context.Context, sku, key string) (*domain.PastCorrection, error) {
	stock, err := d.stocks.Get(ctx, sku)
	if err != nil {
		return nil, fmt.Errorf("reading the corrections of %s: %w", sku, err)
	}
	past := &domain.PastCorrection{Archived: stock.CorrectionsArchived}
	var found domain.Correction
	exists, err := document.ReadArchive(ctx, d.store, &stock.Root, domain.CorrectionKey(sku, key), &found)
	if err != nil {
		return nil, fmt.Errorf("reading the corrections of %s: %w", sku, err)
	}
	if exists {
		past.Found = &found
	}
	return past, nil
}
