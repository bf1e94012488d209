package contract

import (
	"time"

	"caravan/internal/money"
)

// Types of the events that products publishes on the topic [App].
const (
	// EventCreated carries [ProductCreated].
	EventCreated = "products.created.v1"
	// EventChanged carries [ProductChanged].
	EventChanged = "products.changed.v1"
	// EventStockCorrected carries [StockCorrected].
	EventStockCorrected = "products.stock_corrected.v1"
)

// ProductCreated says that a product is in the catalogue.
type ProductCreated struct {
	SKU      string      `json:"sku"`
	Name     string      `json:"name"`
	Category string      `json:"category"`
	Price    money.Money `json:"price"`
}

// ProductChanged says that a product has a new version. Fields names what changed, as in the API.
type ProductChanged struct {
	SKU     string      `json:"sku"`
	Version int64       `json:"version"`
	Fields  []string    `json:"fields"`
	Price   money.Money `json:"price"`
}

// StockCorrected says that staff received or corrected stock: Change units were added (or, negative, taken away).
type StockCorrected struct {
	SKU    string    `json:"sku"`
	Change int64     `json:"change"`
	OnHand int64     `json:"onHand"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}
