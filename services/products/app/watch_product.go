package app

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"caravan/internal/document"
	"caravan/internal/money"
	"caravan/services/products/domain"
)

// Watched is a product that a user watches.
type Watched struct {
	Product *domain.Product
	// Known is the price that the user knows. The user is notified of a lower one.
	Known money.Money
	Since time.Time
}

// WatchProduct lets a user be notified when a product gets cheaper.
type WatchProduct struct {
	Shop *Shop
	// Most is how many products one user may watch.
	Most int
}

// Do begins a watch, or returns the one that there is. Errors: [domain.ErrNoProduct], [domain.ErrTooManyWatches],
// [domain.ErrTooManyWatchers].
//
// The user's list is written first and the bucket of the product last. The watch counts when both have it, so a crash in between
// leaves none, and a repeat completes it.
func (u WatchProduct) Do(ctx context.Context, userID, sku string) (Watched, error) {
	s := u.Shop
	item, err := GetProduct{Shop: s}.Do(ctx, sku)
	if err != nil {
		return Watched{}, err
	}
	now, bucket, product := s.clock.Now(), domain.WatchBucket(userID), item.Product
	list, err := s.documents.Watchlists.Update(ctx, userID, func(l *domain.Watchlist) error { return l.Add(sku, u.Most, now) })
	if err != nil {
		return Watched{}, fmt.Errorf("watching %s: %w", sku, err)
	}
	if !product.WatchedIn(bucket) {
		product, err = s.documents.Products.Update(ctx, sku, func(p *domain.Product) error { return p.Watch(bucket, now) })
		if err != nil {
			return Watched{}, fmt.Errorf("watching %s: %w", sku, err)
		}
		s.cache.putProduct(product)
	}
	price := product.CurrentPrice(now)
	watchers, err := s.documents.Watchers.Update(ctx, WatchersID(sku, bucket), func(w *domain.Watchers) error {
		return w.Add(userID, price.Amount)
	})
	if err != nil {
		return Watched{}, fmt.Errorf("watching %s: %w", sku, err)
	}
	for _, w := range list.Watches {
		if entry := watchers.Of(userID); w.SKU == sku && entry != nil {
			return watched(product, w, *entry), nil
		}
	}
	return Watched{}, fmt.Errorf("watching %s: it ended in the same moment: %w", sku, document.ErrUnknown)
}

// WatchersID is the id of the document of a bucket.
func WatchersID(sku string, bucket int) string { return sku + "/" + strconv.Itoa(bucket) }

func watched(p *domain.Product, w domain.Watch, entry domain.Watcher) Watched {
	return Watched{Product: p, Known: money.New(entry.Price, p.Price.Currency), Since: w.Since}
}
