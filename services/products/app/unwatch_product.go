package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/services/products/domain"
)

// UnwatchProduct ends the watch of a user.
type UnwatchProduct struct{ Shop *Shop }

// Do ends it. There need not be one. Error: [domain.ErrNoProduct].
func (u UnwatchProduct) Do(ctx context.Context, userID, sku string) error {
	s := u.Shop
	if _, err := (GetProduct{Shop: s}).Do(ctx, sku); err != nil {
		return err
	}
	_, err := s.documents.Watchers.Update(ctx, WatchersID(sku, domain.WatchBucket(userID)), func(w *domain.Watchers) error {
		return w.Remove(userID)
	})
	if err != nil && !errors.Is(err, document.ErrNotFound) {
		return fmt.Errorf("ending the watch of %s: %w", sku, err)
	}
	if _, err := s.documents.Watchlists.Update(ctx, userID, func(l *domain.Watchlist) error { return l.Remove(sku) }); err != nil {
		return fmt.Errorf("ending the watch of %s: %w", sku, err)
	}
	return nil
}
