package domain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Fanout is how many references one level of the archive gathers before they move into a node of the next level.
const Fanout = 8

// Archive finds the finished holds of a SKU that have left its stock document: a tree that only grows at its right
// edge. Its leaves hold [ArchiveBatch] holds each, its nodes [Fanout] references, and the head keeps the references
// that have no node yet: fewer than Fanout per level, so that it grows with the logarithm of the number of orders.
//
// Holds leave in batches by age, so the ranges of neighbouring leaves barely overlap and a look-up reads one or two
// documents per level. Leaves and nodes are immutable.
type Archive struct {
	// Through is the latest PlacedAt of an archived hold.
	Through int64 `json:"through,omitempty"`
	// Leaves counts the leaves.
	Leaves int64 `json:"leaves,omitempty"`
	// Holds and Units count the archived holds and their committed units.
	Holds int64 `json:"holds,omitempty"`
	Units int64 `json:"units,omitempty"`
	// Levels hold the references to leaves (0) and to nodes of rising height, oldest first.
	Levels [][]Ref `json:"levels,omitempty"`
}

// Ref points to a leaf or node of the archive. It is stored as a text, its numbers in this order.
type Ref struct {
	// First is the number of its first leaf, counted from 0.
	First int64
	// From and To are the first and last PlacedAt within.
	From, To int64
	// Holds and Units count the holds and committed units within.
	Holds, Units int64
}

// MarshalText writes the reference.
func (r Ref) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d %d %d %d %d", r.First, r.From, r.To, r.Holds, r.Units), nil
}

// UnmarshalText reads the reference.
func (r *Ref) UnmarshalText(data []byte) error {
	fields := strings.Fields(string(data))
	numbers := [...]*int64{&r.First, &r.From, &r.To, &r.Holds, &r.Units}
	if len(fields) != len(numbers) {
		return fmt.Errorf("malformed archive reference %q", data)
	}
	for i, n := range numbers {
		var err error
		if *n, err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return fmt.Errorf("malformed archive reference %q: %w", data, err)
		}
	}
	return nil
}

// Leaf is a document of archived holds by age.
type Leaf struct {
	Holds Holds `json:"holds"`
}

// Node is a document of references, oldest first.
type Node struct {
	Refs []Ref `json:"refs"`
}

// Key is the store key of the leaf (level 0) or node that the reference of that level points to.
func (r Ref) Key(sku string, level int) string {
	return fmt.Sprintf("stock-archive/%s/%d-%d", sku, level, r.First)
}

// Spans reports whether a hold placed at that microsecond may be within.
func (r Ref) Spans(placedAt int64) bool { return r.From <= placedAt && placedAt <= r.To }

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

// Candidates are the references that may lead to the hold of an order.
func Candidates(refs []Ref, o Order) []Ref {
	var found []Ref
	for _, r := range refs {
		if r.Spans(micros(o.PlacedAt)) {
			found = append(found, r)
		}
	}
	return found
}

// add appends a leaf of holds, sorted by age, and gathers full levels into nodes. archive takes the documents that
// they become.
func (a *Archive) add(sku string, holds []Hold, archive func(key string, value any)) {
	leaf := Leaf{Holds: slices.Clone(holds)}
	ref := leaf.ref(a.Leaves)
	archive(ref.Key(sku, 0), leaf)
	a.Leaves++
	a.Holds += ref.Holds
	a.Units += ref.Units
	a.Through = max(a.Through, ref.To)
	for level := 0; ; level++ {
		if level == len(a.Levels) {
			a.Levels = append(a.Levels, nil)
		}
		a.Levels[level] = append(a.Levels[level], ref)
		if len(a.Levels[level]) < Fanout {
			return
		}
		node := Node{Refs: a.Levels[level]}
		a.Levels[level] = nil
		ref = node.ref()
		archive(ref.Key(sku, level+1), node)
	}
}

// grown reports whether a hold placed at that microsecond may have come since the archive had that many leaves.
func (a *Archive) grown(leaves, placedAt int64) bool {
	for level, refs := range a.Levels {
		for _, r := range refs {
			if r.First+LeavesOf(level) > leaves && r.Spans(placedAt) {
				return true
			}
		}
	}
	return false
}

// Top are the references of the head with their levels, in the order of the leaves they lead to.
func (a *Archive) Top() (refs []Ref, levels []int) {
	for level := len(a.Levels) - 1; level >= 0; level-- {
		for _, r := range a.Levels[level] {
			refs, levels = append(refs, r), append(levels, level)
		}
	}
	return refs, levels
}

func (l Leaf) ref(first int64) Ref {
	r := Ref{First: first, From: l.Holds[0].PlacedAt, To: l.Holds[len(l.Holds)-1].PlacedAt}
	r.Holds, r.Units = l.Sums()
	return r
}

// Sums count the holds of the leaf and the committed units among them.
func (l Leaf) Sums() (holds, units int64) {
	for _, h := range l.Holds {
		if h.State == Committed {
			units += h.Quantity
		}
	}
	return int64(len(l.Holds)), units
}

func (n Node) ref() Ref {
	r := Ref{First: n.Refs[0].First, From: n.Refs[0].From, To: n.Refs[0].To}
	for _, child := range n.Refs {
		r.From, r.To = min(r.From, child.From), max(r.To, child.To)
	}
	r.Holds, r.Units = n.Sums()
	return r
}

// Sums add up the holds and committed units of the references.
func (n Node) Sums() (holds, units int64) {
	for _, child := range n.Refs {
		holds += child.Holds
		units += child.Units
	}
	return holds, units
}

// LeavesOf is how many leaves a reference of a level leads to.
func LeavesOf(level int) int64 {
	leaves := int64(1)
	for range level {
		leaves *= Fanout
	}
	return leaves
}
