package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"caravan/internal/document"
	"caravan/internal/page"
	"caravan/services/products/domain"
)

// ListWatches lists the products that a user watches.
type ListWatches struct{ Shop *Shop }

// watchPosition is the content of a cursor: the last watch of the page before. Watches may end meanwhile.
type watchPosition struct {
	Since int64  `json:"t"` // in milliseconds since 1970
	SKU   string `json:"s"`
}

func positionOf(w domain.Watch) watchPosition {
	return watchPosition{Since: w.Since.UnixMilli(), SKU: w.SKU}
}

// before orders the newest first.
func (p watchPosition) before(o watchPosition) bool {
	return cmp.Or(cmp.Compare(o.Since, p.Since), cmp.Compare(p.SKU, o.SKU)) < 0
}

// Do returns up to limit watches of a user from a cursor on, newest first, and the cursor of the next page or "". A page may be
// shorter than its limit and still have a next one.
func (u ListWatches) Do(ctx context.Context, userID, cursor string, limit int) ([]Watched, string, error) {
	var after watchPosition
	if err := page.Decode(cursor, &after); err != nil {
		return nil, "", err
	}
	list, err := u.Shop.documents.Watchlists.Get(ctx, userID)
	if errors.Is(err, document.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading watches: %w", err)
	}
	watches := slices.DeleteFunc(slices.Clone(list.Watches), func(w domain.Watch) bool {
		return cursor != "" && !after.before(positionOf(w))
	})
	slices.SortFunc(watches, func(a, b domain.Watch) int {
		if positionOf(a).before(positionOf(b)) {
			return -1
		}
		return 1
	})
	next := ""
	if len(watches) > limit {
		watches = watches[:limit]
		next = page.Encode(positionOf(watches[limit-1]))
	}
	found, err := u.read(ctx, userID, watches)
	return found, next, err
}

// read reads the products of watches. One that its bucket does not have was never completed.
func (u ListWatches) read(ctx context.Context, userID string, watches []domain.Watch) ([]Watched, error) {
	if len(watches) == 0 {
		return nil, nil
	}
	var skus, ids []string
	for _, w := range watches {
		skus = append(skus, w.SKU)
		ids = append(ids, WatchersID(w.SKU, domain.WatchBucket(userID)))
	}
	items, err := u.Shop.cache.items(ctx, skus...)
	if err != nil {
		return nil, err
	}
	buckets, err := u.Shop.documents.Watchers.GetMany(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("reading watches: %w", err)
	}
	var found []Watched
	for i, w := range watches {
		bucket, product := buckets[ids[i]], items[w.SKU].Product
		if bucket == nil || product == nil {
			continue
		}
		if entry := bucket.Of(userID); entry != nil {
			found = append(found, watched(product, w, *entry))
		}
	}
	return found, nil
}
