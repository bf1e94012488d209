package domain

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/money"
)

// part is a change of one part of a product.
func part(t *rapid.T, now time.Time) (name string, c Change) {
	price := func(label string) money.Money {
		return money.New(rapid.Int64Range(-1, 2000).Draw(t, label), rapid.SampledFrom([]string{"EUR", "EUR", "EUR", "USD"}).Draw(t, label+" currency"))
	}
	text := func() *string { return ptr(rapid.SampledFrom([]string{"", "Cup", "mug", "a\x00b"}).Draw(t, "text")) }
	name = rapid.SampledFrom([]string{"name", "description", "category", "status", "price", "tiers", "schedule"}).Draw(t, "part")
	switch name {
	case "name":
		c.Name = text()
	case "description":
		c.Description = text()
	case "category":
		c.Category = text()
	case "status":
		c.Status = ptr(rapid.SampledFrom([]Status{Active, Inactive, "sold"}).Draw(t, "status"))
	case "price":
		c.Price = ptr(price("price"))
	case "tiers":
		tiers := []Tier{}
		for range rapid.IntRange(0, 3).Draw(t, "tiers") {
			tiers = append(tiers, Tier{rapid.Int64Range(1, 30).Draw(t, "quantity"), price("tier")})
		}
		c.Tiers = &tiers
	case "schedule":
		schedule, at := []ScheduledPrice{}, now
		for range rapid.IntRange(0, 3).Draw(t, "scheduled") {
			at = at.Add(time.Duration(rapid.Int64Range(-1, 3).Draw(t, "later")) * time.Hour)
			schedule = append(schedule, ScheduledPrice{at, price("scheduled")})
		}
		c.Schedule = &schedule
	}
	return name, c
}

func ptr[T any](v T) *T { return &v }

// TestAChangeIsRefusedForWhatItChangesOnly changes products part by part while time passes, among them some that are
// stored with what a younger rule refuses.
func TestAChangeIsRefusedForWhatItChangesOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, now := created(t, generated(t)), noon
		if rapid.Bool().Draw(t, "older rules") {
			p.Name, p.Description, p.Category = " \x00", "\u202e", "Kitchen Ware"
		}
		for range rapid.IntRange(1, 12).Draw(t, "changes") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(4*time.Hour)).Draw(t, "passes")))
			name, c := part(t, now)
			before := *p
			fields, err := p.Apply(c, now)
			var v Violations
			switch {
			case errors.As(err, &v):
				for _, one := range v {
					if one.Field != name && !strings.HasPrefix(one.Field, name+".") && !strings.HasPrefix(one.Field, name+"[") {
						t.Fatalf("a change of %s is refused for %s", name, one.Field)
					}
				}
				if p.Version != before.Version {
					t.Fatal("a refused change changed the product")
				}
			case err != nil:
				t.Fatal(err)
			case len(fields) > 1 || len(fields) == 1 && fields[0] != name:
				t.Fatalf("a change of %s changed %v", name, fields)
			}

			same := *p
			back := Change{Name: &p.Name, Description: &p.Description, Category: &p.Category, Status: &p.Status, Price: ptr(p.CurrentPrice(now)), Tiers: &p.Tiers}
			if rapid.Bool().Draw(t, "schedule as stored") {
				back.Schedule = &p.Schedule
			} else {
				back.Schedule = ptr(p.Scheduled(now))
			}
			if fields, err := same.Apply(back, now); err != nil || len(fields) > 0 {
				t.Fatalf("what was read and sent back changed %v, %v", fields, err)
			}
			for _, status := range []Status{Inactive, Active} {
				if _, err := same.Apply(Change{Status: &status}, now); err != nil || same.Status != status {
					t.Fatalf("the product cannot become %s: %v", status, err)
				}
			}
			if unit := p.PriceOf(MaxQuantity, now).Amount; unit > p.CurrentPrice(now).Amount || unit < 1 {
				t.Fatalf("many cost %d each, one costs %s", unit, p.CurrentPrice(now))
			}
		}
	})
}
