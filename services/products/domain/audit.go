package domain

import "fmt"

// Finding is one invariant that a stock document violates.
type Finding struct {
	Invariant, Detail string
}

// Audit recomputes the sums of the stock from its holds and the references of its archive. A sound stock has no
// finding, whatever commands it has seen.
func (s *Stock) Audit() []Finding {
	var findings []Finding
	find := func(broken bool, invariant, format string, args ...any) {
		if broken {
			findings = append(findings, Finding{invariant, fmt.Sprintf(format, args...)})
		}
	}
	var reserved, committed int64
	orders := make(map[string]bool, len(s.Holds))
	for _, h := range s.Holds {
		switch h.State {
		case Reserved:
			reserved += h.Quantity
		case Committed:
			committed += h.Quantity
		case Released:
		default:
			find(true, "I2", "order %s has a hold in the unknown state %q", h.OrderID, h.State)
		}
		find(h.Quantity < 0 || h.Quantity == 0 && h.State != Released, "I2", "order %s has a %s hold of %d units", h.OrderID, h.State, h.Quantity)
		find(orders[h.OrderID], "I2", "order %s has two holds", h.OrderID)
		orders[h.OrderID] = true
	}
	find(s.Received-s.Committed != s.OnHand, "I1", "received %d - committed %d is not onHand %d", s.Received, s.Committed, s.OnHand)
	find(reserved != s.Reserved, "I1", "the holds reserve %d, not %d", reserved, s.Reserved)
	find(s.Reserved < 0 || s.Reserved > s.OnHand, "I1", "reserved %d is not between 0 and onHand %d", s.Reserved, s.OnHand)
	find(committed+s.Archived.Units != s.Committed, "I2", "the holds committed %d and the archived ones %d, not %d", committed, s.Archived.Units, s.Committed)
	refs, levels := s.Archived.Top()
	var leaves, holds, units int64
	for i, r := range refs {
		find(r.First != leaves, "I2", "the archive lacks the leaves %d to %d", leaves, r.First-1)
		leaves += LeavesOf(levels[i])
		holds, units = holds+r.Holds, units+r.Units
	}
	find(leaves != s.Archived.Leaves || holds != s.Archived.Holds || units != s.Archived.Units, "I2",
		"the archive refers to %d leaves, %d holds and %d units, not %d, %d and %d",
		leaves, holds, units, s.Archived.Leaves, s.Archived.Holds, s.Archived.Units)
	return findings
}
