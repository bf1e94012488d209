package domain

import (
	"errors"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/internal/text"
)

// Limits of a product's texts in characters, and of quantities.
const (
	MaxName        = 120
	MaxDescription = 4000
	MaxCategory    = 40
	// MaxQuantity is the greatest quantity of one order line.
	MaxQuantity = 1_000_000
	// MaxOnHand is the greatest stock of one SKU.
	MaxOnHand = 1_000_000_000
)

// Status says whether a product can be bought.
type Status string

// The statuses of a product. An inactive product is not listed and cannot be reserved. Its holds stay valid.
const (
	Active   Status = "active"
	Inactive Status = "inactive"
)

var categoryPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// ValidCategory reports whether category is lower-case words of letters and digits joined by single hyphens.
func ValidCategory(category string) bool {
	return len(category) <= MaxCategory && categoryPattern.MatchString(category)
}

// Product is what the shop sells under one SKU. The document is product/<sku>.
type Product struct {
	document.Root
	SKU         string `json:"sku"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Category    string `json:"category"`
	Status      Status `json:"status"`
	// Price is the base price of one unit; its currency never changes.
	Price money.Money `json:"price"`
	// Schedule holds price changes by rising time; some may be in effect already.
	Schedule []ScheduledPrice `json:"schedule,omitempty"`
	// Tiers hold quantity prices by rising quantity.
	Tiers []Tier `json:"tiers,omitempty"`
	// Version counts the changes of what customers see, from 1.
	Version int64 `json:"version"`
	// InitialStock is what the stock document is opened with, so that the stock can still be opened after a crash.
	InitialStock int64 `json:"initialStock"`
	// Watched has a bit for each bucket of watchers that was ever used, and Known the last price of which watchers were informed, or
	// a higher one since. Known has no meaning without a bit.
	Watched   uint64      `json:"watched,omitzero"`
	Known     money.Money `json:"known,omitzero"`
	CreatedAt time.Time   `json:"createdAt"`
	ChangedAt time.Time   `json:"changedAt"`
}

// Draft is a product to be created.
type Draft struct {
	SKU, Name, Description, Category string
	Price                            money.Money
	Schedule                         []ScheduledPrice
	Tiers                            []Tier
	InitialStock                     int64
}

// Check returns [Violations] when the draft breaks a rule. currency is the only one the shop sells in: a total of an
// order must be one amount.
func (d Draft) Check(currency string, now time.Time) error {
	var v Violations
	if !id.ValidSKU(d.SKU) {
		v.add("sku", "pattern", id.SKURule)
	}
	checkText(&v, "name", d.Name, 1, MaxName)
	checkText(&v, "description", d.Description, 0, MaxDescription)
	checkCategory(&v, d.Category)
	checkPrice(&v, "price", d.Price, currency)
	checkTiers(&v, d.Tiers, d.Price.Amount, currency)
	checkSchedule(&v, d.Schedule, currency, now)
	if d.InitialStock < 0 || d.InitialStock > MaxOnHand {
		v.add("stock", "range", "must be from 0 to %d", MaxOnHand)
	}
	return v.asError()
}

// Create fills the product from a draft that passed Check. Error: [ErrExists].
func (p *Product) Create(d Draft, now time.Time) error {
	if p.Exists() {
		return ErrExists
	}
	p.SKU, p.Name, p.Description, p.Category = d.SKU, d.Name, d.Description, d.Category
	p.Status, p.Price, p.InitialStock = Active, d.Price, d.InitialStock
	p.Schedule, p.Tiers = inUTC(d.Schedule), slices.Clone(d.Tiers)
	p.Version, p.CreatedAt, p.ChangedAt = 1, now, now
	return nil
}

// Change is what a member of staff wants to be different; nil leaves a field as it is.
type Change struct {
	Name, Description, Category *string
	Status                      *Status
	Price                       *money.Money
	Schedule                    *[]ScheduledPrice
	Tiers                       *[]Tier
}

// Apply changes the product and returns the names of the fields that differ, in the API's spelling; none if the change
// changes nothing. A new base price takes effect at once and replaces scheduled prices in effect, not those to come.
// Only the fields that differ are checked: a stored field may break a newer rule, or a rule about the time, and must not
// prevent another change. Errors: [ErrNoProduct], [Violations].
func (p *Product) Apply(c Change, now time.Time) ([]string, error) {
	if !p.Exists() {
		return nil, ErrNoProduct
	}
	next := *p
	next.foldSchedule(now)
	set(&next.Name, c.Name)
	set(&next.Description, c.Description)
	set(&next.Category, c.Category)
	set(&next.Status, c.Status)
	set(&next.Price, c.Price)
	if c.Tiers != nil {
		next.Tiers = slices.Clone(*c.Tiers)
	}
	// A schedule that comes back as it is stored is no change, although a part of it may have taken effect.
	if c.Schedule != nil && !slices.EqualFunc(*c.Schedule, p.Schedule, sameScheduled) {
		next.Schedule = inUTC(*c.Schedule)
	}
	fields := p.differences(&next, now)
	if err := next.check(fields, p.Price.Currency, now); err != nil {
		return nil, err
	}
	if len(fields) == 0 {
		return nil, nil
	}
	p.Name, p.Description, p.Category, p.Status = next.Name, next.Description, next.Category, next.Status
	_ = p.Risen(now) // the next fall counts from the price until now
	p.Price, p.Schedule, p.Tiers = next.Price, next.Schedule, next.Tiers
	p.Version++
	p.ChangedAt = now
	_ = p.Risen(now)
	return fields, nil
}

// check returns [Violations] when one of the fields breaks a rule.
func (p *Product) check(fields []string, currency string, now time.Time) error {
	var v Violations
	for _, field := range fields {
		switch field {
		case "name":
			checkText(&v, field, p.Name, 1, MaxName)
		case "description":
			checkText(&v, field, p.Description, 0, MaxDescription)
		case "category":
			checkCategory(&v, p.Category)
		case "status":
			if p.Status != Active && p.Status != Inactive {
				v.add(field, "oneof", "must be %s or %s", Active, Inactive)
			}
		case "price":
			checkPrice(&v, field, p.Price, currency)
		case "tiers":
			checkTiers(&v, p.Tiers, p.Price.Amount, currency)
		case "schedule":
			checkSchedule(&v, p.Schedule, currency, now)
		}
	}
	return v.asError()
}

func (p *Product) differences(next *Product, now time.Time) []string {
	var fields []string
	for _, f := range []struct {
		name string
		same bool
	}{
		{"name", p.Name == next.Name},
		{"description", p.Description == next.Description},
		{"category", p.Category == next.Category},
		{"status", p.Status == next.Status},
		{"price", p.CurrentPrice(now) == next.Price},
		{"tiers", slices.Equal(p.Tiers, next.Tiers)},
		{"schedule", slices.EqualFunc(future(p.Schedule, now), next.Schedule, sameScheduled)},
	} {
		if !f.same {
			fields = append(fields, f.name)
		}
	}
	return fields
}

func future(schedule []ScheduledPrice, now time.Time) []ScheduledPrice {
	i := slices.IndexFunc(schedule, func(s ScheduledPrice) bool { return s.EffectiveFrom.After(now) })
	if i < 0 {
		return nil
	}
	return schedule[i:]
}

func sameScheduled(a, b ScheduledPrice) bool {
	return a.EffectiveFrom.Equal(b.EffectiveFrom) && a.Price == b.Price
}

func inUTC(schedule []ScheduledPrice) []ScheduledPrice {
	utc := slices.Clone(schedule)
	for i := range utc {
		utc[i].EffectiveFrom = utc[i].EffectiveFrom.UTC()
	}
	return utc
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

func checkCategory(v *Violations, category string) {
	if !ValidCategory(category) {
		v.add("category", "pattern", "must be lower-case words of letters and digits joined by hyphens, at most %d long", MaxCategory)
	}
}

// checkText accepts text that its rule leaves as it is. Descriptions may have line breaks.
func checkText(v *Violations, field, value string, least, most int) {
	rule := text.Line
	if field == "description" {
		rule = text.Multiline
	}
	clean, err := rule.Clean(value, most)
	var broken *text.Error
	switch {
	case errors.As(err, &broken):
		v.add(field, broken.Code, "%s", broken.Message)
	case utf8.RuneCountInString(clean) < least:
		v.add(field, "required", "must not be empty")
	case clean != value:
		v.add(field, "text", "must be trimmed and in Unicode normal form C")
	}
}
