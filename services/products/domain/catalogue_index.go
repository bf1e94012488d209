package domain

import (
	"slices"

	"caravan/internal/document"
)

// Bounds of the catalogue index. Every replica keeps all of it in memory.
const (
	// SegmentSize is how many products one segment lists.
	SegmentSize = 200
	// MaxSegments bounds the catalogue to a hundred thousand products.
	MaxSegments = 500
)

// CatalogueHead is the document directory/head. It contains the last announced revision of each segment, so that a replica
// reads only the segments that changed.
type CatalogueHead struct {
	document.Root
	Revisions []int64 `json:"revisions"`
}

// Announce raises the announced revision of a segment and reports whether that changed anything.
func (h *CatalogueHead) Announce(segment int, revision int64) bool {
	for len(h.Revisions) <= segment {
		h.Revisions = append(h.Revisions, 0)
	}
	if h.Revisions[segment] >= revision {
		return false
	}
	h.Revisions[segment] = revision
	return true
}

// CatalogueSegment is the document directory/<n>: up to [SegmentSize] products with what is needed to list and search
// them. An entry is written before its product, so its product may not exist.
type CatalogueSegment struct {
	document.Root
	Entries []Entry `json:"entries"`
}

// Entry lists one product.
type Entry struct {
	SKU      string `json:"sku"`
	Name     string `json:"name"`
	Category string `json:"category"`
	// Terms are the search terms of the description, sorted and without repeats.
	Terms []string `json:"terms,omitempty"`
	// Hidden keeps an inactive product out of lists.
	Hidden bool `json:"hidden,omitempty"`
	// Version is the product version that the entry shows.
	Version int64 `json:"version"`
}

// EntryOf lists a product.
func EntryOf(p *Product) Entry {
	return Entry{
		SKU: p.SKU, Name: p.Name, Category: p.Category, Terms: descriptionTerms(p.Description),
		Hidden: p.Status != Active, Version: p.Version,
	}
}

// Add lists a product that is about to be created and reports whether that changed anything. Error: [ErrFull].
func (s *CatalogueSegment) Add(e Entry) (bool, error) {
	if s.index(e.SKU) >= 0 {
		return false, nil
	}
	if len(s.Entries) >= SegmentSize {
		return false, ErrFull
	}
	s.Entries = append(s.Entries, e)
	return true, nil
}

// Show updates the entry of a product and reports whether that changed anything. e must be made from the
// stored product, never from one about to be stored.
func (s *CatalogueSegment) Show(e Entry) bool {
	i := s.index(e.SKU)
	if i < 0 || s.Entries[i].Version > e.Version || s.Entries[i].Equal(e) {
		return false
	}
	s.Entries[i] = e
	return true
}

func (s *CatalogueSegment) index(sku string) int {
	return slices.IndexFunc(s.Entries, func(e Entry) bool { return e.SKU == sku })
}

// Equal reports whether two entries show the same.
func (e Entry) Equal(o Entry) bool {
	return e.SKU == o.SKU && e.Name == o.Name && e.Category == o.Category && e.Hidden == o.Hidden &&
		e.Version == o.Version && slices.Equal(e.Terms, o.Terms)
}
