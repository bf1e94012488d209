package domain

import (
	"fmt"
	"slices"

	"caravan/internal/document"
)

// Archive finds the finished holds of a SKU that have left its stock document. Holds leave in batches by age, so the
// ranges of neighbouring leaves barely overlap and a search reads one or two documents per level.
type Archive struct {
	// Through is the latest PlacedAt of an archived hold.
	Through int64 `json:"through,omitempty"`
	// Holds and Units count the archived holds and their committed units.
	Holds int64 `json:"holds,omitempty"`
	Units int64 `json:"units,omitempty"`
	// Tree leads to the leaves.
	document.Tree[Span]
}

// Span describes the holds below a reference of the archive.
type Span struct {
	// From and To are the first and last PlacedAt within.
	From, To int64
	// Holds and Units count the holds and committed units within.
	Holds, Units int64
}

// Merge describes the holds of both.
func (s Span) Merge(o Span) Span {
	return Span{From: min(s.From, o.From), To: max(s.To, o.To), Holds: s.Holds + o.Holds, Units: s.Units + o.Units}
}

// MarshalText writes the numbers in the order of the fields.
func (s Span) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d %d %d %d", s.From, s.To, s.Holds, s.Units), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *Span) UnmarshalText(data []byte) error {
	if _, err := fmt.Sscanf(string(data), "%d %d %d %d", &s.From, &s.To, &s.Holds, &s.Units); err != nil {
		return fmt.Errorf("reading %q: %w", data, err)
	}
	return nil
}

// Covers reports whether a hold placed at that microsecond may be within.
func (s Span) Covers(placedAt int64) bool { return s.From <= placedAt && placedAt <= s.To }

// MayHave reports whether the hold of an order may be within.
func (s Span) MayHave(o Order) bool { return s.Covers(micros(o.PlacedAt)) }

// ArchivePrefix is where the archive of a SKU is.
func ArchivePrefix(sku string) string { return "stock-archive/" + sku }

// Leaf is a document of [ArchiveBatch] archived holds by age.
type Leaf struct {
	Holds Holds `json:"holds"`
}

// Find searches the leaf for the hold of an order.
func (l Leaf) Find(o Order) (Hold, bool) {
	return l.find(Hold{OrderID: o.ID, PlacedAt: micros(o.PlacedAt)})
}

func (l Leaf) find(of Hold) (Hold, bool) {
	i, found := slices.BinarySearchFunc(l.Holds, of, byAge)
	if !found {
		return Hold{}, false
	}
	return l.Holds[i], true
}

// span describes the holds of the leaf.
func (l Leaf) span() Span {
	s := Span{From: l.Holds[0].PlacedAt, To: l.Holds[len(l.Holds)-1].PlacedAt}
	s.Holds, s.Units = l.sums()
	return s
}

// sums count the holds of the leaf and the committed units among them.
func (l Leaf) sums() (holds, units int64) {
	for _, h := range l.Holds {
		if h.State == Committed {
			units += h.Quantity
		}
	}
	return int64(len(l.Holds)), units
}

// archive moves holds, sorted by age, to a leaf.
func (s *Stock) archive(holds []Hold) {
	leaf := Leaf{Holds: slices.Clone(holds)}
	span := leaf.span()
	s.Archived.Add(&s.Root, ArchivePrefix(s.SKU), leaf, span)
	s.Archived.Holds += span.Holds
	s.Archived.Units += span.Units
	s.Archived.Through = max(s.Archived.Through, span.To)
}
