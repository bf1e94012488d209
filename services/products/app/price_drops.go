package app

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"caravan/internal/clock"
)

// dropsWaiting bounds the products that wait for PriceDrops.
const dropsWaiting = 1024

// PriceDrops informs the watchers of products in the background, a while after their prices fell: of several changes in that time
// only the last price is told. What a crash or a full queue leaves, and prices that fall by a schedule, are found by Reconcile.
type PriceDrops struct {
	inform InformWatchers
	settle time.Duration
	clock  clock.Clock
	log    *slog.Logger
	queue  chan string
}

// NewPriceDrops makes PriceDrops. settle is how long it waits for further changes.
func NewPriceDrops(shop *Shop, settle time.Duration, log *slog.Logger) *PriceDrops {
	return &PriceDrops{InformWatchers{Shop: shop}, settle, shop.clock, log, make(chan string, dropsWaiting)}
}

// Begin begins with a product. It does not wait.
func (p *PriceDrops) Begin(sku string) {
	select {
	case p.queue <- sku:
	default:
	}
}

// Run works until ctx ends.
func (p *PriceDrops) Run(ctx context.Context) error {
	for {
		skus := make(map[string]bool)
		select {
		case sku := <-p.queue:
			skus[sku] = true
		case <-ctx.Done():
			return nil
		}
		if p.clock.Sleep(ctx, p.settle) != nil {
			return nil
		}
		for len(p.queue) > 0 {
			skus[<-p.queue] = true
		}
		for _, sku := range slices.Sorted(maps.Keys(skus)) {
			if err := p.inform.Do(ctx, sku); err != nil && ctx.Err() == nil {
				p.log.WarnContext(ctx, "watchers of a product are informed later", "sku", sku, slog.Any("error", err))
			}
		}
	}
}
