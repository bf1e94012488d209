package audit

import (
	"context"
	"fmt"
	"slices"

	"caravan/services/products/app"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// watchers checks that the watchers of a product know its price, and the events that informed them. The audit of orders follows each of
// these events to its entries and messages.
func (p *auditPage) watchers(ctx context.Context, product *domain.Product) error {
	var unreached []string
	for part := range slices.Chunk(app.BucketsOf(product), maxTogether) {
		buckets, err := p.documents.Watchers.GetMany(ctx, part...)
		if err != nil {
			return fmt.Errorf("reading watchers: %w", err)
		}
		p.buckets -= len(part)
		for _, id := range part {
			bucket := buckets[id]
			if bucket == nil {
				continue
			}
			p.Counts["watchers"] += int64(len(bucket.Users))
			key, all := "watchers/"+id, int(bucket.TimelineSegments)
			p.trail.Head(&p.Results, key, key, &bucket.Root)
			if _, err := p.trail.Segments(ctx, &p.Results, key, key, &bucket.Root, 0, &all, nil); err != nil {
				return err
			}
			missed, err := p.missed(ctx, product, bucket)
			if err != nil {
				return err
			}
			unreached = append(unreached, missed...)
		}
	}
	p.Check(len(unreached) == 0, contract.InvariantWatchers, "product/"+product.SKU,
		"%d watchers, such as %q, know only a higher price than %d", len(unreached), unreached[:min(len(unreached), 3)], product.CurrentPrice(p.now).Amount)
	return nil
}

// missed are the watchers in a bucket who should have been informed of the present price by now. One who began to watch a moment ago
// may have seen a price that had just changed.
func (p *auditPage) missed(ctx context.Context, product *domain.Product, bucket *domain.Watchers) ([]string, error) {
	if product.Status != domain.Active || p.now.Sub(product.PriceSince(p.now)) <= p.openWithin {
		return nil, nil
	}
	var missed []string
	for part := range slices.Chunk(bucket.Above(product.CurrentPrice(p.now).Amount), maxTogether) {
		lists, err := p.documents.Watchlists.GetMany(ctx, part...)
		if err != nil {
			return nil, fmt.Errorf("reading the lists of watchers: %w", err)
		}
		for _, userID := range part {
			if list := lists[userID]; list != nil && slices.ContainsFunc(list.Watches, func(w domain.Watch) bool {
				return w.SKU == product.SKU && p.now.Sub(w.Since) > p.openWithin
			}) {
				missed = append(missed, userID)
			}
		}
	}
	return missed, nil
}
