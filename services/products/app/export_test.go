package app

import (
	"context"

	"caravan/internal/document"
	"caravan/services/products/domain"
)

// What tests need of the inside.
const (
	StaleIfError = staleIfError
	Extension    = extension
	InARow       = inARow
)

// Segments are the documents of the catalogue index.
func (d *Documents) Segments() *document.Repository[domain.CatalogueSegment, *domain.CatalogueSegment] {
	return d.segments
}

// Known is the catalogue as this process knows it.
func (s *Shop) Known(ctx context.Context) (*domain.Catalogue, error) {
	known, err := s.index.current(ctx)
	return known.Catalogue, err
}

// LimitCache has the cache keep at most that many products.
func (s *Shop) LimitCache(size int) { s.cache.size = size }
