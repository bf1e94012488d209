package app

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/services/products/domain"
)

// cacheSize bounds the products that are kept in memory.
const cacheSize = 20_000

// productCache keeps the products and stock levels that are read, each for at most maxAge. It contains what this process
// writes at once. Readers of the same products share one read of the store. While the store fails, readers get what is in
// memory, for at most staleIfError.
type productCache struct {
	documents *Documents
	clock     clock.Clock
	maxAge    time.Duration
	size      int // the most entries, cacheSize outside of tests
	reads     singleflight.Group

	mu      sync.Mutex
	entries map[string]*cached // by SKU
}

// Item is a product with the stock it has.
type Item struct {
	Product *domain.Product
	Level   domain.Level
}

// cached is one entry of the cache. The cache's mutex guards its fields; what they point to is immutable.
type cached struct {
	Item        // without a Product if there is none
	age         // zero while it was only written
	stock int64 // revision of the stock document that the level is from
}

func newProductCache(documents *Documents, clk clock.Clock, maxAge time.Duration) *productCache {
	return &productCache{documents: documents, clock: clk, maxAge: maxAge, size: cacheSize, entries: make(map[string]*cached)}
}

// items returns the products of the SKUs. One that does not exist is absent.
func (c *productCache) items(ctx context.Context, skus ...string) (map[string]Item, error) {
	var failure error
	var loaded map[string]Item
	if stale := c.stale(skus); len(stale) > 0 {
		read := c.reads.DoChan(strings.Join(stale, " "), func() (any, error) {
			// Other readers wait for this too, so it does not end when the first one leaves.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
			defer cancel()
			return c.load(ctx, c.stale(stale))
		})
		select {
		case result := <-read:
			loaded, _ = result.Val.(map[string]Item)
			failure = result.Err
		case <-ctx.Done():
			failure = ctx.Err()
		}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("reading products: %w", ctx.Err())
	}
	now := c.clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	items := make(map[string]Item, len(skus))
	for _, sku := range skus {
		entry, ok := c.entries[sku]
		if failure != nil && (!ok || !entry.usable(now)) {
			return nil, fmt.Errorf("reading product %s: %w", sku, failure)
		}
		item, read := loaded[sku]
		switch {
		case ok:
			item = entry.Item
		case !read: // it had an entry when this began, and other readers needed the place
			return nil, document.Unavailable{Err: fmt.Errorf("product %s left the cache while it was read", sku)}
		}
		if item.Product != nil {
			items[sku] = item
		}
	}
	return items, nil
}

// stale returns the SKUs that have to be read.
func (c *productCache) stale(skus []string) (stale []string) {
	now := c.clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, sku := range skus {
		if entry, ok := c.entries[sku]; !ok || !entry.fresh(now, c.maxAge) {
			stale = append(stale, sku)
		}
	}
	return stale
}

// load reads products and levels from the store. It returns them too, as an entry may leave the cache at once: what is not in the
// cache need not be absent in the store.
func (c *productCache) load(ctx context.Context, skus []string) (map[string]Item, error) {
	readAt := c.clock.Now()
	products, err := c.documents.Products.GetMany(ctx, skus...)
	var levels map[string]*level
	if err == nil {
		levels, err = c.documents.levels.GetMany(ctx, skus...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	loaded := make(map[string]Item, len(skus))
	for _, sku := range skus {
		if err != nil {
			if entry, ok := c.entries[sku]; ok {
				entry.failedAt = readAt
			}
			continue
		}
		entry := c.entry(sku)
		entry.age = age{readAt: readAt}
		entry.product(products[sku])
		if stock, ok := levels[sku]; ok {
			entry.level(domain.Level{OnHand: stock.OnHand, Reserved: stock.Reserved}, stock.Revision)
		}
		loaded[sku] = entry.Item
	}
	return loaded, err
}

// entry finds or makes the entry of a SKU. Callers hold c.mu.
func (c *productCache) entry(sku string) *cached {
	if entry, ok := c.entries[sku]; ok {
		return entry
	}
	for other := range c.entries { // any entry can go: one that is in use comes back with its next read
		if len(c.entries) < c.size {
			break
		}
		delete(c.entries, other)
	}
	entry := new(cached)
	c.entries[sku] = entry
	return entry
}

// product takes over a product unless it is older than the one that is known.
func (e *cached) product(p *domain.Product) {
	if p != nil && (e.Product == nil || p.Revision >= e.Product.Revision) {
		e.Product = p
	}
}

// level takes over the level of a revision of the stock document unless it is older than the one that is known.
func (e *cached) level(l domain.Level, revision int64) {
	if revision >= e.stock {
		e.Level, e.stock = l, revision
	}
}

// putProduct takes over a product that this process has read or written.
func (c *productCache) putProduct(p *domain.Product) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entry(p.SKU).product(p)
}

// putLevel takes over the level of a stock document that this process has written.
func (c *productCache) putLevel(stock *domain.Stock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if entry, ok := c.entries[stock.SKU]; ok {
		entry.level(stock.Level(), stock.Revision)
	}
}
