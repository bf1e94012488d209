package domain

import (
	"slices"
	"time"
)

// Overdue are the reserved holds whose deadline has passed, oldest first and at most limit of them. Passing it does not
// release anything: the sweep asks for the order first, as a captured order must keep its units.
func (s *Stock) Overdue(now time.Time, limit int) []Hold {
	var overdue []Hold
	for _, h := range s.Holds {
		if h.State == Reserved && h.ExpiresAt <= micros(now) {
			overdue = append(overdue, h)
		}
	}
	slices.SortFunc(overdue, byAge)
	return overdue[:min(len(overdue), limit)]
}

// Settle releases the overdue holds of ended orders, and extends those of open orders to the given time. It returns the holds
// that it released.
func (s *Stock) Settle(ended, open []string, until time.Time) []Hold {
	var released []Hold
	for _, id := range ended {
		if h := s.reserved(id); h != nil {
			released = append(released, s.finish(h, Released, Expired))
		}
	}
	for _, id := range open {
		if h := s.reserved(id); h != nil {
			h.ExpiresAt = max(h.ExpiresAt, micros(until))
		}
	}
	s.schedule()
	return released
}

func (s *Stock) reserved(orderID string) *Hold {
	i := slices.IndexFunc(s.Holds, func(h Hold) bool { return h.OrderID == orderID && h.State == Reserved })
	if i < 0 {
		return nil
	}
	return &s.Holds[i]
}
