package feed

import "caravan/internal/recent"

// Seen remembers the ids of the most recently handled events, so that the pull of an event that was pushed costs no work.
// Forgetting one is harmless: handlers are idempotent.
type Seen struct{ ids *recent.Map[struct{}] }

// NewSeen remembers at least size events and at most twice as many.
func NewSeen(size int) *Seen { return &Seen{recent.New[struct{}](size)} }

// Has reports whether id was added and not yet forgotten.
func (s *Seen) Has(id string) bool {
	_, ok := s.ids.Get(id)
	return ok
}

// Add remembers id.
func (s *Seen) Add(id string) { s.ids.Update(id, func(struct{}) struct{} { return struct{}{} }) }
