package feed

import "sync"

// Seen remembers the ids of the most recently handled events, so that the pull
// of what was pushed costs no work. Forgetting is harmless: handlers are
// idempotent.
type Seen struct {
	mu      sync.Mutex
	current map[string]struct{}
	older   map[string]struct{}
	size    int
}

// NewSeen remembers at least size events and at most twice as many.
func NewSeen(size int) *Seen {
	return &Seen{current: make(map[string]struct{}), older: make(map[string]struct{}), size: size}
}

// Has reports whether id was added and not yet forgotten.
func (s *Seen) Has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, inCurrent := s.current[id]
	_, inOlder := s.older[id]
	return inCurrent || inOlder
}

// Add remembers id.
func (s *Seen) Add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.current) >= s.size {
		s.older, s.current = s.current, make(map[string]struct{})
	}
	s.current[id] = struct{}{}
}
