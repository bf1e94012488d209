package app

import (
	"time"

	"caravan/internal/clock"
)

// Shop is what the use cases share: the documents, and what this process keeps of them in memory. It is safe for concurrent
// use.
type Shop struct {
	documents *Documents
	index     *catalogueIndex
	cache     *productCache
	clock     clock.Clock
}

// NewShop makes a Shop. readAge is the greatest age of what the catalogue shows.
func NewShop(documents *Documents, clk clock.Clock, readAge time.Duration) *Shop {
	return &Shop{
		documents: documents, clock: clk,
		index: newCatalogueIndex(documents, clk, readAge), cache: newProductCache(documents, clk, readAge),
	}
}
