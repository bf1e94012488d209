package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"caravan/internal/correlation"
	"caravan/internal/document"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

const (
	// bucketsAtOnce is how many buckets of watchers are read at once.
	bucketsAtOnce = 16
	// watchlistsAtOnce is how many lists of users are read at once.
	watchlistsAtOnce = 100
)

// InformWatchers emits events for the users who watch a product that has become cheaper.
type InformWatchers struct{ Shop *Shop }

// Do informs all watchers who know a higher price only. Who is informed, and the event that informs, are one write of a bucket. So a
// repeat after a crash informs the others, and nobody twice. Last the product records that its watchers know the price; until then
// Reconcile begins again.
func (u InformWatchers) Do(ctx context.Context, sku string) error {
	s := u.Shop
	product, err := s.documents.Products.Get(ctx, sku)
	if errors.Is(err, document.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("informing the watchers of %s: %w", sku, err)
	}
	now := s.clock.Now()
	old, price, dropped := product.Dropped(now)
	if !dropped {
		return nil
	}
	ctx = causeOf(ctx, product)
	fact := contract.PriceDropped{SKU: sku, Name: product.Name, Old: old, New: price}
	for part := range slices.Chunk(BucketsOf(product), bucketsAtOnce) {
		buckets, err := s.documents.Watchers.GetMany(ctx, part...)
		if err != nil {
			return fmt.Errorf("reading the watchers of %s: %w", sku, err)
		}
		for _, id := range part {
			if bucket := buckets[id]; bucket != nil {
				if err := u.bucket(ctx, id, bucket, fact, now); err != nil {
					return err
				}
			}
		}
	}
	product, err = s.documents.Products.Update(ctx, sku, func(p *domain.Product) error { return p.Informed(price, s.clock.Now()) })
	if err != nil {
		return fmt.Errorf("recording that the watchers of %s are informed: %w", sku, err)
	}
	s.cache.putProduct(product)
	return nil
}

// causeOf is ctx with the correlation id and the trace of the last event of a product.
func causeOf(ctx context.Context, p *domain.Product) context.Context {
	if len(p.Timeline) == 0 {
		return ctx
	}
	last := p.Timeline[len(p.Timeline)-1]
	return correlation.Remote(ctx, last.CorrelationID, last.TraceParent)
}

// BucketsOf are the ids of the buckets that may have watchers of a product.
func BucketsOf(p *domain.Product) []string {
	var ids []string
	for bucket := range domain.WatchBuckets {
		if p.WatchedIn(bucket) {
			ids = append(ids, WatchersID(p.SKU, bucket))
		}
	}
	return ids
}

// bucket informs the watchers in one bucket, as far as their lists have the product.
func (u InformWatchers) bucket(ctx context.Context, id string, bucket *domain.Watchers, fact contract.PriceDropped, now time.Time) error {
	documents := u.Shop.documents
	watching := make(map[string]bool)
	for part := range slices.Chunk(bucket.Above(fact.New.Amount), watchlistsAtOnce) {
		lists, err := documents.Watchlists.GetMany(ctx, part...)
		if err != nil {
			return fmt.Errorf("reading the lists of watchers: %w", err)
		}
		for userID, list := range lists {
			if list.Has(fact.SKU) {
				watching[userID] = true
			}
		}
	}
	if len(watching) == 0 {
		return nil
	}
	_, err := documents.Watchers.Update(ctx, id, func(w *domain.Watchers) error {
		informed := w.Inform(watching, fact.New.Amount)
		for users := range slices.Chunk(informed, contract.MaxDropUsers) {
			part := fact
			part.UserIDs = users
			w.Emit(contract.EventPriceDropped, now, part)
		}
		return unlessChanged(len(informed) > 0, nil)
	})
	if err != nil {
		return fmt.Errorf("informing the watchers of %s: %w", fact.SKU, err)
	}
	return nil
}
