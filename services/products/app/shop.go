package app

import (
	"context"
	"log/slog"
	"time"

	"caravan/internal/clock"
)

// Orders tells how orders stand, by order id; an order that does not exist is absent from the answer.
type Orders interface {
	Statuses(ctx context.Context, orderIDs []string) (map[string]string, error)
}

// Settings are the rules that an installation may change.
type Settings struct {
	// Currency is the only one the shop sells in, an ISO 4217 code.
	Currency string
	// ReservationTTL is how long a reservation is kept without asking for its order.
	ReservationTTL time.Duration
	// ReadAge is the greatest age of what the catalogue shows.
	ReadAge time.Duration
	// OpenWithin is how long after a product was created its stock is there at the latest, whatever crashed in between.
	OpenWithin time.Duration
}

// Shop runs the use cases of products. It is safe for concurrent use.
type Shop struct {
	documents *Documents
	index     *catalogueIndex
	cache     *productCache
	orders    Orders
	clock     clock.Clock
	settings  Settings
	log       *slog.Logger
}

// NewShop makes a Shop.
func NewShop(documents *Documents, orders Orders, clk clock.Clock, settings Settings, log *slog.Logger) *Shop {
	return &Shop{
		documents: documents, orders: orders, clock: clk, settings: settings, log: log,
		index: newCatalogueIndex(documents, clk, settings.ReadAge),
		cache: newProductCache(documents, clk, settings.ReadAge),
	}
}

// Now is the time by which prices are in effect.
func (s *Shop) Now() time.Time { return s.clock.Now() }

// Currency is the only one the shop sells in.
func (s *Shop) Currency() string { return s.settings.Currency }
