package feed

import "caravan/internal/recent"

// Seen remembers the ids of the events that were handled last, so that a pull does not handle pushed events again. When
// it forgets one, nothing is lost: handlers are idempotent.
type Seen struct{ ids *recent.Map[struct{}] }

// NewSeen remembers at least size events and at most twice as many.
func NewSeen(size int) *Seen { return &Seen{recent.New[struct{}](size)} }

// Has reports whether id was added and is still remembered.
func (s *Seen) Has(id string) bool {
	_, ok := s.ids.Get(id)
	return ok
}

// Add adds id.
func (s *Seen) Add(id string) { s.ids.Update(id, func(struct{}) struct{} { return struct{}{} }) }
