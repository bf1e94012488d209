package app

import (
	"sync"

	"caravan/services/notifications/domain"
)

// failuresMax bounds how many events' failures are remembered; twice as many at most.
const failuresMax = 4096

// failures remembers why deliveries of events failed, until the broker gives up and brings them as dead letters: it says
// nothing of the attempts. It is a courtesy of this replica alone; what it forgot is a letter with less to tell.
type failures struct {
	mu             sync.Mutex
	current, older map[string]failure
}

// failure is what is known of the failed deliveries of one event.
type failure struct {
	attempts int
	last     string
}

func newFailures() *failures {
	return &failures{current: make(map[string]failure), older: make(map[string]failure)}
}

// note counts a failed delivery.
func (f *failures) note(eventID string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.current) >= failuresMax {
		f.older, f.current = f.current, make(map[string]failure)
	}
	f.current[eventID] = failure{attempts: f.of(eventID).attempts + 1, last: domain.Reason(err)}
}

// known tells what is remembered of an event; no attempts if that is nothing.
func (f *failures) known(eventID string) failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of(eventID)
}

func (f *failures) of(eventID string) failure {
	if known, ok := f.current[eventID]; ok {
		return known
	}
	return f.older[eventID]
}
