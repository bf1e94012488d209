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
	// EventStockLow carries [StockLow].
	EventStockLow = "products.stock_low.v1"
	// EventPriceDropped carries [PriceDropped].
	EventPriceDropped = "products.price_dropped.v1"
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

// StockLow says that fewer units of a SKU can be sold than the threshold. It comes once until the stock has recovered.
type StockLow struct {
	SKU       string `json:"sku"`
	Available int64  `json:"available"`
	Threshold int64  `json:"threshold"`
}

// MaxDropUsers bounds the users of one [PriceDropped].
const MaxDropUsers = 50

// PriceDropped says that a product costs less than before, to some of the users who watch it: at most [MaxDropUsers]. One drop has
// as many of these events as it needs, each for other users.
type PriceDropped struct {
	SKU     string      `json:"sku"`
	Name    string      `json:"name"`
	Old     money.Money `json:"old"`
	New     money.Money `json:"new"`
	UserIDs []string    `json:"userIds"`
}
