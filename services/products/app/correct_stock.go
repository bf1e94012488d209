package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// CorrectStock books units that staff received, lost or counted.
type CorrectStock struct{ Shop *Shop }

// Do adds units to the stock of a product or takes some away, once for each key. Errors: [domain.ErrNoProduct],
// [domain.Violations], [domain.ShortageError], [domain.ErrOtherCorrection].
func (u CorrectStock) Do(ctx context.Context, sku string, correction domain.Correction) (domain.Level, error) {
	s := u.Shop
	if err := correction.Check(); err != nil {
		return domain.Level{}, err
	}
	var past *domain.PastCorrection
	for range decisions {
		var after domain.Level
		stock, err := s.documents.Stocks.Update(ctx, sku, func(d *domain.Stock) error {
			var changed bool
			var err error
			after, changed, err = d.Correct(correction, past)
			if err == nil && changed {
				now := s.clock.Now()
				d.Emit(contract.EventStockCorrected, now, contract.StockCorrected{
					SKU: d.SKU, Change: correction.Change, OnHand: after.OnHand, Reason: correction.Reason, At: now,
				})
				s.documents.checkLow(d, correction.Change > 0)
			}
			return unlessChanged(changed, err)
		})
		switch {
		case errors.Is(err, domain.ErrNotOpen):
			err = s.documents.open(ctx, sku)
		case errors.Is(err, domain.ErrPast):
			past, err = s.documents.pastCorrection(ctx, sku, correction.Key)
		case err == nil:
			s.cache.putLevel(stock)
			return after, nil
		}
		if err != nil {
			return domain.Level{}, fmt.Errorf("correcting the stock of %s: %w", sku, err)
		}
	}
	return domain.Level{}, fmt.Errorf("correcting the stock of %s: %w", sku, document.ErrUnknown)
}
