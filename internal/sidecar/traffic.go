package sidecar

import (
	"sync"
	"time"
)

// Traffic is what a consumer has seen of one of its topics.
type Traffic struct {
	// Last is when the last message of any kind came in; zero if none did.
	Last time.Time
	// InFlight counts the deliveries whose handlers have not returned.
	InFlight int
	// Oldest is when the oldest of these deliveries came in; zero if there is none.
	Oldest time.Time
	// OldestEvent is the id of its event, or "" if it is not an event.
	OldestEvent string
}

// replicasKept limits how many replicas are remembered.
const replicasKept = 1000

// traffic records what came in from all topics.
type traffic struct {
	now func() time.Time

	mu      sync.Mutex
	last    map[string]time.Time
	flights map[string]map[*flight]struct{}
	beats   map[[2]string]time.Time // app and replica
}

type flight struct {
	began time.Time
	event string
}

func newTraffic(now func() time.Time) *traffic {
	return &traffic{
		now: now, last: make(map[string]time.Time), flights: make(map[string]map[*flight]struct{}), beats: make(map[[2]string]time.Time),
	}
}

// came records that a message of a topic came in.
func (t *traffic) came(topic string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last[topic] = t.now()
}

// beat records a replica's heartbeat.
func (t *traffic) beat(app, replica string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := [2]string{app, replica}
	if _, known := t.beats[key]; !known && len(t.beats) >= replicasKept {
		clear(t.beats) // running replicas are added again with their next heartbeat
	}
	t.beats[key] = t.now()
}

func (t *traffic) replicas(app string, since time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for key, at := range t.beats {
		if key[0] == app && !at.Before(since) {
			n++
		}
	}
	return n
}

// begin records that a handler has a delivery, until the returned function is called.
func (t *traffic) begin(topic, event string) (done func()) {
	f := &flight{began: t.now(), event: event}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flights[topic] == nil {
		t.flights[topic] = make(map[*flight]struct{})
	}
	t.flights[topic][f] = struct{}{}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.flights[topic], f)
	}
}

func (t *traffic) of(topic string) Traffic {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := Traffic{Last: t.last[topic], InFlight: len(t.flights[topic])}
	for f := range t.flights[topic] {
		if seen.Oldest.IsZero() || f.began.Before(seen.Oldest) {
			seen.Oldest, seen.OldestEvent = f.began, f.event
		}
	}
	return seen
}
