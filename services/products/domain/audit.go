package domain

import (
	"time"

	"caravan/internal/audit"
	"caravan/internal/document"
	"caravan/services/products/contract"
)

// visibleWithin is how long after its creation everybody sees a stock: its product may be written late, by a clock that is
// behind (see feed.Timing.Settle).
const visibleWithin = 45 * time.Second

// MayPrecede reports whether the order of a hold may have asked for this stock before there was one. It was refused as an
// unknown product then, without a tombstone; the hold came later.
func (s *Stock) MayPrecede(h Hold) bool {
	return h.PlacedAt < s.CreatedAt+visibleWithin.Microseconds()
}

// AuditStock recomputes the sums of a stock from its holds and the references of its archive. A sound stock has no
// finding, whatever commands it has seen.
func AuditStock(into *audit.Results, s *Stock) {
	key := "stock/" + s.SKU
	reserved, committed := s.auditHolds(into, key)
	check := func(holds bool, invariant, format string, args ...any) {
		into.Check(holds, invariant, key, format, args...)
	}
	check(s.Received-s.Committed == s.OnHand, contract.InvariantStock, "received %d - committed %d is not onHand %d", s.Received, s.Committed, s.OnHand)
	check(reserved == s.Reserved, contract.InvariantStock, "the holds reserve %d, not %d", reserved, s.Reserved)
	check(0 <= s.Reserved && s.Reserved <= s.OnHand, contract.InvariantStock, "reserved %d is not between 0 and onHand %d", s.Reserved, s.OnHand)
	check(committed+s.Archived.Units == s.Committed, contract.InvariantSold,
		"the holds committed %d and the archived ones %d, not %d", committed, s.Archived.Units, s.Committed)
	s.Archived.audit(into, key)
	for _, c := range s.Corrections {
		check(0 <= c.After.Reserved && c.After.Reserved <= c.After.OnHand, contract.InvariantHistory,
			"a correction by %d led to %d on hand, %d reserved", c.Change, c.After.OnHand, c.After.Reserved)
	}
}

// auditHolds checks each hold in the head and adds up what they reserve and committed.
func (s *Stock) auditHolds(into *audit.Results, key string) (reserved, committed int64) {
	orders := make(map[string]bool, len(s.Holds))
	for _, h := range s.Holds {
		switch h.State {
		case Reserved:
			reserved += h.Quantity
		case Committed:
			committed += h.Quantity
		}
		h.audit(into, key)
		into.Check(!orders[h.OrderID], contract.InvariantHold, key, "order %s has two holds", h.OrderID)
		orders[h.OrderID] = true
	}
	return reserved, committed
}

// audit checks a hold by itself.
func (h Hold) audit(into *audit.Results, key string) {
	known := h.State == Reserved || h.State == Committed || h.State == Released
	some := h.Quantity > 0 || h.Quantity == 0 && h.State == Released
	into.Check(known && some, contract.InvariantHold, key, "order %s has a %q hold of %d units", h.OrderID, h.State, h.Quantity)
}

// audit checks that the references of the head cover all leaves once.
func (a *Archive) audit(into *audit.Results, key string) {
	wrong := a.Check()
	into.Check(wrong == "", contract.InvariantArchive, key, "%s", wrong)
	var sum Span
	for _, refs := range a.Tree.Levels {
		for _, r := range refs {
			sum = sum.Merge(r.Summary)
		}
	}
	into.Check(sum.Holds == a.Holds && sum.Units == a.Units, contract.InvariantArchive, key,
		"the archive refers to %d holds and %d units, not %d and %d", sum.Holds, sum.Units, a.Holds, a.Units)
}

// ArchiveRef is a reference of the archive.
type ArchiveRef = document.Ref[Span]

// AuditLeaf checks a leaf of the archive of a SKU against the reference that led to it.
func AuditLeaf(into *audit.Results, sku string, leaf Leaf, r ArchiveRef) {
	key := document.TreeKey(ArchivePrefix(sku), 0, r.First)
	holds, units := leaf.sums()
	auditSums(into, key, r.Summary, holds, units)
	orders := make(map[string]bool, len(leaf.Holds))
	for i, h := range leaf.Holds {
		h.audit(into, key)
		into.Check(h.State != Reserved, contract.InvariantArchive, key, "order %s was archived while it was reserved", h.OrderID)
		into.Check(r.Summary.Covers(h.PlacedAt), contract.InvariantArchive, key, "order %s is outside of the range of its leaf", h.OrderID)
		into.Check(i == 0 || byAge(leaf.Holds[i-1], h) < 0, contract.InvariantArchive, key, "order %s is not in its place", h.OrderID)
		into.Check(!orders[h.OrderID], contract.InvariantHold, key, "order %s has two holds", h.OrderID)
		orders[h.OrderID] = true
	}
}

// AuditNode checks a node of the archive of a SKU against the reference that led to it.
func AuditNode(into *audit.Results, sku string, node document.TreeNode[Span], r ArchiveRef, level int) {
	key := document.TreeKey(ArchivePrefix(sku), level, r.First)
	into.Check(len(node.Refs) == document.Fanout, contract.InvariantArchive, key, "the node has %d references", len(node.Refs))
	var sum Span
	for i, child := range node.Refs {
		sum = sum.Merge(child.Summary)
		want := r.First + int64(i)*document.LeavesBelow(level-1)
		into.Check(child.First == want, contract.InvariantArchive, key, "leaf %d is at the place of %d", child.First, want)
	}
	auditSums(into, key, r.Summary, sum.Holds, sum.Units)
}

func auditSums(into *audit.Results, key string, of Span, holds, units int64) {
	into.Check(holds == of.Holds && units == of.Units, contract.InvariantArchive, key,
		"holds %d of %d units, its reference says %d of %d", holds, units, of.Holds, of.Units)
}

// AuditDoubles checks that none of the orders of some holds has a hold in a leaf of the archive as well.
func AuditDoubles(into *audit.Results, sku string, holds []Hold, leaf Leaf, r ArchiveRef) {
	for _, h := range holds {
		if !r.Summary.Covers(h.PlacedAt) {
			continue
		}
		_, twice := leaf.find(h)
		into.Check(!twice, contract.InvariantHold, document.TreeKey(ArchivePrefix(sku), 0, r.First), "order %s has another hold", h.OrderID)
	}
}

// Levels is the history of a stock as far as it was followed: what its corrections amount to, and the least that was
// committed by then.
type Levels struct {
	Received  int64 `json:"r"`
	Committed int64 `json:"c"`
}

// Follow checks that a correction led from one level to one that there can have been.
func (l *Levels) Follow(into *audit.Results, key string, change, onHand int64, at time.Time) {
	l.Received += change
	committed := l.Received - onHand
	into.Check(onHand >= 0 && committed >= l.Committed, contract.InvariantHistory, key,
		"the correction of %s by %d led to %d on hand, which leaves %d committed after %d", at.Format(time.RFC3339), change, onHand, committed, l.Committed)
	l.Committed = max(l.Committed, committed)
}

// Arrive checks that the corrections led to the present level of a stock.
func (l *Levels) Arrive(into *audit.Results, s *Stock) {
	into.Check(l.Received == s.Received && l.Committed <= s.Committed, contract.InvariantHistory, "stock/"+s.SKU,
		"the corrections make %d received and at least %d committed; the stock has %d and %d", l.Received, l.Committed, s.Received, s.Committed)
}
