package domain

import (
	"cmp"
	"math"
	"slices"
	"time"

	"caravan/internal/id"
)

// State is how far the hold of an order has come.
type State string

// The states of a hold. Reserved goes to one of the others once; these two are final.
const (
	Reserved  State = "reserved"
	Committed State = "committed"
	Released  State = "released"
)

// Reason says why a hold is released. The first three are refusals that a repeated reserve answers again.
type Reason string

// The reasons of a released hold.
const (
	OutOfStock     Reason = "out_of_stock"
	PriceChanged   Reason = "price_changed"
	UnknownProduct Reason = "unknown_product"
	ByOrder        Reason = "order"
	Expired        Reason = "expired"
)

// Hold is what one order has of one SKU. A released hold without quantity is a tombstone: the order never held a unit
// here and never will.
type Hold struct {
	OrderID  string
	Quantity int64
	// UnitPrice is locked when the hold is made, in minor units of the stock's currency.
	UnitPrice int64
	State     State
	// Reason says why the hold is released.
	Reason Reason
	// RefusedSKU is the SKU that Reason is about, when that is another one of the same order.
	RefusedSKU string
	// PlacedAt is when the order was placed, in microseconds since 1970.
	PlacedAt int64
	// ExpiresAt is when the sweep asks for the order, in microseconds since 1970; only while reserved.
	ExpiresAt int64
}

// byAge orders holds by the time their order was placed.
func byAge(a, b Hold) int {
	return cmp.Or(cmp.Compare(a.PlacedAt, b.PlacedAt), cmp.Compare(a.OrderID, b.OrderID))
}

// Order names an order and when it was placed. Every command about the order must carry the same time.
type Order struct {
	ID       string
	PlacedAt time.Time
}

// Past is what the archive says about one order: the hold found there, or that there was none among the first Leaves
// leaves.
type Past struct {
	Leaves int64
	Hold   *Hold
}

// find looks for the hold of an order: in the head, and, when it may have left the head, in what the caller found in
// the archive. It returns nil when the order has none, and [ErrPast] when the caller must look there first.
func (s *Stock) find(o Order, past *Past) (*Hold, error) {
	for i := len(s.Holds) - 1; i >= 0; i-- {
		if s.Holds[i].OrderID == o.ID {
			return &s.Holds[i], nil
		}
	}
	if s.Archived.Leaves == 0 || micros(o.PlacedAt) > s.Archived.Through {
		return nil, nil
	}
	if past == nil || past.Hold == nil && s.Archived.Grown(past.Leaves, func(span Span) bool { return span.MayHave(o) }) {
		return nil, ErrPast
	}
	return past.Hold, nil // a finished hold never changes
}

// tombstone records that the order never holds a unit.
func (s *Stock) tombstone(o Order, reason Reason, refused string) Hold {
	h := Hold{OrderID: o.ID, State: Released, Reason: reason, PlacedAt: micros(o.PlacedAt)}
	if refused != s.SKU && id.ValidSKU(refused) {
		h.RefusedSKU = refused
	}
	s.Holds = append(s.Holds, h)
	s.trim()
	return h
}

// finish moves a reserved hold to a final state.
func (s *Stock) finish(h *Hold, state State, reason Reason) Hold {
	s.Reserved -= h.Quantity
	if state == Committed {
		s.OnHand -= h.Quantity
		s.Committed += h.Quantity
	}
	h.State, h.Reason, h.ExpiresAt = state, reason, 0
	done := *h
	s.schedule()
	s.trim()
	return done
}

// schedule recomputes when the next reservation expires.
func (s *Stock) schedule() {
	s.NextExpiry = 0
	for _, h := range s.Holds {
		if h.State == Reserved && (s.NextExpiry == 0 || h.ExpiresAt < s.NextExpiry) {
			s.NextExpiry = h.ExpiresAt
		}
	}
}

// trim moves the oldest finished holds to the archive once there are enough of them to fill a leaf.
func (s *Stock) trim() {
	if len(s.Holds) < KeepFinished+ArchiveBatch {
		return
	}
	newest := int64(math.MinInt64)
	for _, h := range s.Holds {
		newest = max(newest, h.PlacedAt)
	}
	finished, old := 0, 0
	for _, h := range s.Holds {
		if h.State != Reserved {
			finished++
			if h.PlacedAt < newest-KeepWindow.Microseconds() {
				old++
			}
		}
	}
	if finished >= MaxFinished+ArchiveBatch || old >= ArchiveBatch && finished >= KeepFinished+ArchiveBatch {
		s.archiveOldest()
	}
}

// archiveOldest moves [ArchiveBatch] finished holds.
func (s *Stock) archiveOldest() {
	finished := slices.DeleteFunc(slices.Clone(s.Holds), func(h Hold) bool { return h.State == Reserved })
	slices.SortFunc(finished, byAge)
	oldest := finished[:ArchiveBatch]
	gone := make(map[string]bool, ArchiveBatch)
	for _, h := range oldest {
		gone[h.OrderID] = true
	}
	s.Holds = slices.DeleteFunc(s.Holds, func(h Hold) bool { return gone[h.OrderID] })
	s.archive(oldest)
}

// active counts the reserved holds.
func (s *Stock) active() int {
	n := 0
	for _, h := range s.Holds {
		if h.State == Reserved {
			n++
		}
	}
	return n
}
