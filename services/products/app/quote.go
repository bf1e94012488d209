package app

import (
	"context"
	"fmt"
	"time"

	"caravan/internal/money"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// quote contains what the lines of an order cost now.
type quote struct {
	currency string
	units    map[string]money.Money
	names    map[string]string
	lines    map[string]contract.PricedLine
	total    money.Money
	// unknown is the first SKU that cannot be bought. The rest of the quote is not used then.
	unknown string
}

// differs reports whether a customer agreed to another total.
func (q quote) differs(expected *money.Money) bool {
	return q.unknown == "" && expected != nil && *expected != q.total
}

// quoteFromMemory prices lines with products from the cache.
func (u ReserveStock) quoteFromMemory(ctx context.Context, lines []contract.Line) (quote, error) {
	items, err := u.Shop.cache.items(ctx, skusOf(lines)...)
	if err != nil {
		return quote{}, fmt.Errorf("pricing the order: %w", err)
	}
	return quoteOf(lines, u.Currency, u.Shop.clock.Now(), func(sku string) *domain.Product { return items[sku].Product })
}

// quoteFromStore prices lines with the products as they are stored.
func (u ReserveStock) quoteFromStore(ctx context.Context, lines []contract.Line) (quote, error) {
	products, err := u.Shop.documents.Products.GetMany(ctx, skusOf(lines)...)
	if err != nil {
		return quote{}, fmt.Errorf("pricing the order: %w", err)
	}
	for _, p := range products {
		u.Shop.cache.putProduct(p)
	}
	return quoteOf(lines, u.Currency, u.Shop.clock.Now(), func(sku string) *domain.Product { return products[sku] })
}

func quoteOf(lines []contract.Line, currency string, now time.Time, product func(sku string) *domain.Product) (quote, error) {
	q := quote{
		currency: currency, total: money.New(0, currency), units: make(map[string]money.Money, len(lines)),
		names: make(map[string]string, len(lines)), lines: make(map[string]contract.PricedLine, len(lines)),
	}
	for _, line := range lines {
		p := product(line.SKU)
		if p != nil {
			q.names[line.SKU] = p.Name
		}
		if p == nil || p.Status != domain.Active || p.Price.Currency != currency {
			if q.unknown == "" {
				q.unknown = line.SKU
			}
			continue
		}
		unit := p.PriceOf(line.Quantity, now)
		priced, err := priceLine(line, p.Name, unit)
		if err != nil {
			return quote{}, err
		}
		if q.total, err = q.total.Add(priced.LineTotal); err != nil {
			return quote{}, fmt.Errorf("adding up the order: %w", err)
		}
		q.units[line.SKU], q.lines[line.SKU] = unit, priced
	}
	return q, nil
}

func priceLine(line contract.Line, name string, unit money.Money) (contract.PricedLine, error) {
	total, err := domain.LineTotal(unit, line.Quantity)
	if err != nil {
		return contract.PricedLine{}, err
	}
	return contract.PricedLine{SKU: line.SKU, Name: name, Quantity: line.Quantity, UnitPrice: unit, LineTotal: total}, nil
}
