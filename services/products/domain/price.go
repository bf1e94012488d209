package domain

import (
	"fmt"
	"slices"
	"time"

	"caravan/internal/money"
)

// Limits of prices.
const (
	// MaxPrice is the highest unit price in minor units. With at most a million units of at most 50 lines a total stays
	// far inside int64.
	MaxPrice = 1_000_000_000
	// MaxTiers and MaxScheduled bound the lists of a product.
	MaxTiers     = 10
	MaxScheduled = 50
)

// Tier is a quantity discount: from MinQuantity units of one line on, each costs UnitPrice.
type Tier struct {
	MinQuantity int64       `json:"minQuantity"`
	UnitPrice   money.Money `json:"unitPrice"`
}

// ScheduledPrice replaces the base price from EffectiveFrom on.
type ScheduledPrice struct {
	EffectiveFrom time.Time   `json:"effectiveFrom"`
	Price         money.Money `json:"price"`
}

// CurrentPrice is the price of a single unit at the given time: the base price, or the latest scheduled one that is in
// effect.
func (p *Product) CurrentPrice(now time.Time) money.Money {
	price := p.Price
	for _, s := range p.Schedule { // sorted by time
		if s.EffectiveFrom.After(now) {
			break
		}
		price = s.Price
	}
	return price
}

// PriceSince is when the current price began at the latest: the last change of the product, or a later one by its schedule.
func (p *Product) PriceSince(now time.Time) time.Time {
	since := p.ChangedAt
	for _, s := range p.Schedule {
		if !s.EffectiveFrom.After(now) && s.EffectiveFrom.After(since) {
			since = s.EffectiveFrom
		}
	}
	return since
}

// PriceOf is the unit price of a line of quantity units at the given time: the current price, or the price of the
// highest tier reached if that is lower. A customer who takes more never pays more per unit, even while a scheduled
// sale undercuts the tiers.
func (p *Product) PriceOf(quantity int64, now time.Time) money.Money {
	price := p.CurrentPrice(now)
	for _, t := range p.Tiers { // by rising quantity and falling price
		if quantity < t.MinQuantity {
			break
		}
		if t.UnitPrice.Amount < price.Amount {
			price = t.UnitPrice
		}
	}
	return price
}

// Scheduled are the price changes to come.
func (p *Product) Scheduled(now time.Time) []ScheduledPrice { return future(p.Schedule, now) }

// LineTotal is unit price times quantity.
func LineTotal(unit money.Money, quantity int64) (money.Money, error) {
	total, err := unit.Mul(quantity)
	if err != nil {
		return money.Money{}, fmt.Errorf("computing a line total: %w", err)
	}
	return total, nil
}

// foldSchedule makes the scheduled prices that are in effect the base price, so that only future prices are in the list.
func (p *Product) foldSchedule(now time.Time) {
	p.Price = p.CurrentPrice(now)
	p.Schedule = slices.DeleteFunc(slices.Clone(p.Schedule), func(s ScheduledPrice) bool { return !s.EffectiveFrom.After(now) })
}

func checkPrice(v *Violations, field string, price money.Money, currency string) {
	switch {
	case price.Validate() != nil:
		v.add(field+".currency", "currency", "must be an ISO 4217 code such as EUR")
	case price.Currency != currency:
		v.add(field+".currency", "currency", "must be %s", currency)
	}
	if price.Amount < 1 || price.Amount > MaxPrice {
		v.add(field+".amount", "range", "must be from 1 to %d minor units", MaxPrice)
	}
}

// checkTiers checks quantity prices against the price of a single unit, of which currency is the right one.
func checkTiers(v *Violations, tiers []Tier, single int64, currency string) {
	if len(tiers) > MaxTiers {
		v.add("tiers", "max", "must be at most %d", MaxTiers)
		return
	}
	minimum, below := int64(2), single
	for i, t := range tiers {
		field := fmt.Sprintf("tiers[%d]", i)
		if t.MinQuantity < minimum || t.MinQuantity > MaxQuantity {
			v.add(field+".minQuantity", "range", "must be from %d to %d: tiers rise in quantity", minimum, MaxQuantity)
		}
		before := len(*v)
		checkPrice(v, field+".unitPrice", t.UnitPrice, currency)
		if len(*v) == before && t.UnitPrice.Amount >= below {
			v.add(field+".unitPrice.amount", "range", "must be below %d: tiers fall in price", below)
		}
		minimum, below = t.MinQuantity+1, t.UnitPrice.Amount
	}
}

func checkSchedule(v *Violations, schedule []ScheduledPrice, currency string, now time.Time) {
	if len(schedule) > MaxScheduled {
		v.add("schedule", "max", "must be at most %d", MaxScheduled)
		return
	}
	after := now
	for i, s := range schedule {
		field := fmt.Sprintf("schedule[%d]", i)
		if !s.EffectiveFrom.After(after) {
			v.add(field+".effectiveFrom", "order", "must be in the future and later than the one before")
		}
		checkPrice(v, field+".price", s.Price, currency)
		after = s.EffectiveFrom
	}
}
