package domain

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/money"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func eur(cents int64) money.Money { return money.New(cents, "EUR") }

func draft() Draft {
	return Draft{SKU: "CUP-1", Name: "Cup", Description: "A cup.", Category: "kitchen", Price: eur(1000), InitialStock: 10}
}

// created is a product as it comes out of the store after its creation.
func created(t interface{ Fatal(...any) }, d Draft) *Product {
	p := new(Product)
	if err := p.Create(d, noon); err != nil {
		t.Fatal(err)
	}
	p.Revision = 1
	return p
}

func TestPriceOf(t *testing.T) {
	d := draft()
	d.Tiers = []Tier{{10, eur(900)}, {100, eur(700)}}
	d.Schedule = []ScheduledPrice{{noon.Add(time.Hour), eur(800)}, {noon.Add(2 * time.Hour), eur(1200)}}
	for _, c := range []struct {
		name     string
		quantity int64
		after    time.Duration
		want     int64
	}{
		{"one unit costs the base price", 1, 0, 1000},
		{"just below a tier nothing changes", 9, 0, 1000},
		{"a tier begins with its quantity", 10, 0, 900},
		{"the highest tier reached counts", 250, 0, 700},
		{"just before a scheduled change nothing changes", 1, time.Hour - 1, 1000},
		{"a scheduled price begins with its time", 1, time.Hour, 800},
		{"a sale below the tier price holds for the tier too", 10, time.Hour, 800},
		{"a tier below the sale price still counts", 100, time.Hour, 700},
		{"the latest scheduled price counts", 1, 3 * time.Hour, 1200},
		{"tiers stay when the price rises", 10, 3 * time.Hour, 900},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := created(t, d).PriceOf(c.quantity, noon.Add(c.after)); got != eur(c.want) {
				t.Errorf("PriceOf = %s; want %s", got, eur(c.want))
			}
		})
	}
}

// generated draws a draft that passes Check.
func generated(t *rapid.T) Draft {
	d := draft()
	d.Price = eur(rapid.Int64Range(100, MaxPrice).Draw(t, "base"))
	quantity, price := int64(1), d.Price.Amount
	for range rapid.IntRange(0, MaxTiers).Draw(t, "tiers") {
		if price <= 1 {
			break
		}
		quantity += rapid.Int64Range(1, 1000).Draw(t, "more")
		price = rapid.Int64Range(1, price-1).Draw(t, "tier price")
		d.Tiers = append(d.Tiers, Tier{quantity, eur(price)})
	}
	at := noon
	for range rapid.IntRange(0, 5).Draw(t, "scheduled") {
		at = at.Add(time.Duration(rapid.Int64Range(1, int64(24*time.Hour)).Draw(t, "later")))
		d.Schedule = append(d.Schedule, ScheduledPrice{at, eur(rapid.Int64Range(1, MaxPrice).Draw(t, "scheduled price"))})
	}
	return d
}

func TestMoreUnitsNeverCostMoreEachAndTotalsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := generated(t)
		if err := d.Check("EUR", noon); err != nil {
			t.Fatalf("a valid draft was refused: %v", err)
		}
		p := created(t, d)
		now := noon.Add(time.Duration(rapid.Int64Range(0, int64(200*time.Hour)).Draw(t, "now")))
		few := rapid.Int64Range(1, MaxQuantity).Draw(t, "few")
		many := rapid.Int64Range(few, MaxQuantity).Draw(t, "many")
		if p.PriceOf(many, now).Amount > p.PriceOf(few, now).Amount {
			t.Fatalf("%d units cost %s each, %d cost %s", few, p.PriceOf(few, now), many, p.PriceOf(many, now))
		}
		unit := p.PriceOf(many, now)
		total, err := LineTotal(unit, many)
		if err != nil {
			t.Fatalf("no total of %d at %s: %v", many, unit, err)
		}
		if total.Amount/many != unit.Amount || total.Amount%many != 0 || unit.Amount < 1 {
			t.Fatalf("%d at %s make %s", many, unit, total)
		}
	})
}

func TestFoldingTheScheduleChangesNoPrice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := created(t, generated(t))
		folded := *p
		at := noon.Add(time.Duration(rapid.Int64Range(0, int64(200*time.Hour)).Draw(t, "fold")))
		folded.foldSchedule(at)
		later := at.Add(time.Duration(rapid.Int64Range(0, int64(200*time.Hour)).Draw(t, "later")))
		if p.PriceOf(7, later) != folded.PriceOf(7, later) {
			t.Fatalf("%s became %s", p.PriceOf(7, later), folded.PriceOf(7, later))
		}
	})
}

func TestDraftsThatBreakRulesNameTheField(t *testing.T) {
	for _, c := range []struct {
		field string
		spoil func(*Draft)
	}{
		{"sku", func(d *Draft) { d.SKU = "cup" }},
		{"sku", func(d *Draft) { d.SKU = "-CUP" }},
		{"sku", func(d *Draft) { d.SKU = "C" }},
		{"sku", func(d *Draft) { d.SKU = strings.Repeat("A", 33) }},
		{"sku", func(d *Draft) { d.SKU = "CUP||1" }},
		{"name", func(d *Draft) { d.Name = "" }},
		{"name", func(d *Draft) { d.Name = " Cup" }},
		{"name", func(d *Draft) { d.Name = "Cup\x00" }},
		{"name", func(d *Draft) { d.Name = "Cup\nInjected: yes" }},
		{"name", func(d *Draft) { d.Name = "Cup \u202e" }},
		{"name", func(d *Draft) { d.Name = "Cup\xff" }},
		{"name", func(d *Draft) { d.Name = strings.Repeat("ü", MaxName+1) }},
		{"description", func(d *Draft) { d.Description = strings.Repeat("x", MaxDescription+1) }},
		{"category", func(d *Draft) { d.Category = "Kitchen" }},
		{"category", func(d *Draft) { d.Category = "" }},
		{"category", func(d *Draft) { d.Category = "a--b" }},
		{"price.amount", func(d *Draft) { d.Price.Amount = 0 }},
		{"price.amount", func(d *Draft) { d.Price.Amount = -5 }},
		{"price.amount", func(d *Draft) { d.Price.Amount = MaxPrice + 1 }},
		{"price.currency", func(d *Draft) { d.Price.Currency = "USD" }},
		{"price.currency", func(d *Draft) { d.Price.Currency = "eur" }},
		{"stock", func(d *Draft) { d.InitialStock = -1 }},
		{"stock", func(d *Draft) { d.InitialStock = MaxOnHand + 1 }},
		{"tiers[0].minQuantity", func(d *Draft) { d.Tiers = []Tier{{1, eur(900)}} }},
		{"tiers[1].minQuantity", func(d *Draft) { d.Tiers = []Tier{{5, eur(900)}, {5, eur(800)}} }},
		{"tiers[1].unitPrice.amount", func(d *Draft) { d.Tiers = []Tier{{5, eur(900)}, {6, eur(900)}} }},
		{"tiers[0].unitPrice.amount", func(d *Draft) { d.Tiers = []Tier{{5, eur(1000)}} }},
		{"tiers[0].unitPrice.currency", func(d *Draft) { d.Tiers = []Tier{{5, money.New(5, "USD")}} }},
		{"tiers", func(d *Draft) { d.Tiers = make([]Tier, MaxTiers+1) }},
		{"schedule[0].effectiveFrom", func(d *Draft) { d.Schedule = []ScheduledPrice{{noon, eur(5)}} }},
		{"schedule[1].effectiveFrom", func(d *Draft) {
			d.Schedule = []ScheduledPrice{{noon.Add(2), eur(5)}, {noon.Add(1), eur(5)}}
		}},
		{"schedule[0].price.amount", func(d *Draft) { d.Schedule = []ScheduledPrice{{noon.Add(2), eur(0)}} }},
	} {
		t.Run(c.field, func(t *testing.T) {
			d := draft()
			c.spoil(&d)
			var v Violations
			if !errors.As(d.Check("EUR", noon), &v) {
				t.Fatal("the draft passed")
			}
			if !slices.ContainsFunc(v, func(one Violation) bool { return one.Field == c.field && one.Code != "" && one.Message != "" }) {
				t.Errorf("the violations are %v; want one of %s", v, c.field)
			}
		})
	}
}

func TestApply(t *testing.T) {
	d := draft()
	d.Schedule = []ScheduledPrice{{noon.Add(time.Hour), eur(800)}, {noon.Add(3 * time.Hour), eur(1200)}}
	name, same, price, inactive := "Mug", "Cup", eur(950), Inactive
	dollars := money.New(5, "USD")
	for _, c := range []struct {
		name   string
		change Change
		fields []string
		broken string
		want   money.Money // at two hours past noon
	}{
		{"nothing", Change{}, nil, "", eur(800)},
		{"a name", Change{Name: &name}, []string{"name"}, "", eur(800)},
		{"the same name", Change{Name: &same}, nil, "", eur(800)},
		{"a price replaces the scheduled one in effect", Change{Price: &price}, []string{"price"}, "", eur(950)},
		{"a status", Change{Status: &inactive}, []string{"status"}, "", eur(800)},
		{"a schedule replaces what is to come", Change{Schedule: &[]ScheduledPrice{}}, []string{"schedule"}, "", eur(800)},
		{"tiers", Change{Tiers: &[]Tier{{5, eur(500)}}}, []string{"tiers"}, "", eur(800)},
		{"tiers above the price in effect", Change{Tiers: &[]Tier{{5, eur(900)}}}, nil, "tiers[0].unitPrice.amount", eur(800)},
		{"a price below the tiers", Change{Price: ptr(eur(300))}, []string{"price"}, "", eur(300)},
		{"another currency", Change{Price: &dollars}, nil, "price.currency", eur(800)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := created(t, d)
			fields, err := p.Apply(c.change, noon.Add(2*time.Hour))
			var v Violations
			if errors.As(err, &v) != (c.broken != "") || c.broken != "" && v[0].Field != c.broken {
				t.Fatalf("Apply fails with %v; want a violation of %q", err, c.broken)
			}
			if !slices.Equal(fields, c.fields) {
				t.Errorf("changed %v; want %v", fields, c.fields)
			}
			if want := int64(1 + min(len(c.fields), 1)); p.Version != want {
				t.Errorf("version %d; want %d", p.Version, want)
			}
			if got := p.CurrentPrice(noon.Add(2 * time.Hour)); got != c.want {
				t.Errorf("costs %s; want %s", got, c.want)
			}
		})
	}
	d.Tiers = []Tier{{10, eur(900)}}
	for _, c := range []Change{{Name: &name}, {Status: &inactive}, {Price: ptr(eur(800))}} {
		if _, err := created(t, d).Apply(c, noon.Add(2*time.Hour)); err != nil {
			t.Errorf("a scheduled price below a tier is in the way of %+v: %v", c, err)
		}
	}
	if _, err := new(Product).Apply(Change{Name: &name}, noon); !errors.Is(err, ErrNoProduct) {
		t.Errorf("changing nothing at all: %v", err)
	}
	if err := created(t, d).Create(d, noon); !errors.Is(err, ErrExists) {
		t.Errorf("creating twice: %v", err)
	}
}
