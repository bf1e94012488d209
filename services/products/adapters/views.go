package adapters

import (
	"time"

	"caravan/internal/money"
	"caravan/internal/page"
	"caravan/services/products/app"
	"caravan/services/products/domain"
)

// productView is what all callers see of a product. Available is at most a second old, as is the price of a product that
// another replica changed.
type productView struct {
	SKU         string        `json:"sku"`
	Name        string        `json:"name"`
	Description string        `json:"description"`
	Category    string        `json:"category"`
	Status      domain.Status `json:"status"`
	Price       money.Money   `json:"price"`
	Tiers       []domain.Tier `json:"tiers,omitempty"`
	Available   int64         `json:"available"`
	Version     int64         `json:"version"`
}

// productList is one page of products.
type productList struct {
	page.List[productView]
	// Currency is that of every price.
	Currency string `json:"currency"`
}

// staffView adds what only staff see.
type staffView struct {
	productView
	OnHand    int64                   `json:"onHand"`
	Reserved  int64                   `json:"reserved"`
	Schedule  []domain.ScheduledPrice `json:"schedule"`
	CreatedAt time.Time               `json:"createdAt"`
	ChangedAt time.Time               `json:"changedAt"`
}

func viewOf(item app.Item, now time.Time) productView {
	p := item.Product
	v := productView{
		SKU: p.SKU, Name: p.Name, Description: p.Description, Category: p.Category, Status: p.Status,
		Price: p.CurrentPrice(now), Tiers: p.Tiers, Version: p.Version,
	}
	if p.Status == domain.Active {
		v.Available = item.Level.Available()
	}
	return v
}

func staffViewOf(item app.Item, now time.Time) staffView {
	p := item.Product
	return staffView{
		productView: viewOf(item, now), OnHand: item.Level.OnHand, Reserved: item.Level.Reserved,
		Schedule: p.Scheduled(now), CreatedAt: p.CreatedAt, ChangedAt: p.ChangedAt,
	}
}
