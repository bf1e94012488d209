package main

import (
	"context"
	"sync"
	"time"

	"caravan/internal/clock"
)

// source is a value that is read again and again. It keeps the newest value when a read fails, so that a page can show it with its
// age.
type source[T any] struct {
	mu    sync.Mutex
	busy  bool // somebody reads it
	every time.Duration
	value T
	at    time.Time // of the newest value; zero before the first
	tried time.Time
	err   error     // of the newest read
	since time.Time // reads have failed since then
}

// reading is a source at one time.
type reading[T any] struct {
	Value   T
	At      time.Time // zero if there is no value yet
	Problem string    // why the newest read failed
	Since   time.Time // reads have failed since then
	Busy    bool
	every   time.Duration
}

// Known reports whether there is a value.
func (r reading[T]) Known() bool { return !r.At.IsZero() }

// Stale reports whether the value is older than it should be, although no read has failed yet.
func (r reading[T]) Stale(now time.Time) bool {
	const slack = 3 * time.Second // for a read and a tick
	return r.Known() && now.Sub(r.At) > r.every+slack
}

// refresh reads the value if it is older than every, and nobody reads it at present.
func (s *source[T]) refresh(ctx context.Context, clk clock.Clock, every, limit time.Duration, read func(context.Context) (T, error)) {
	if !s.begin(clk.Now(), every) {
		return
	}
	value, err := within(ctx, limit, read)
	now, gone := clk.Now(), ctx.Err() != nil // nobody waits for it any more, which is no failure
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	switch {
	case gone:
	case err == nil:
		s.tried, s.value, s.at, s.err, s.since = now, value, now, nil, time.Time{}
	default:
		if s.tried, s.err = now, err; s.since.IsZero() {
			s.since = now
		}
	}
}

// begin reports whether the value should be read now.
func (s *source[T]) begin(now time.Time, every time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy || !s.tried.IsZero() && now.Sub(s.tried) < every {
		return false
	}
	s.busy, s.every = true, every
	return true
}

// expire makes the next refresh read the value, whatever its age.
func (s *source[T]) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried = time.Time{}
}

// failure is why the newest read failed, nil if it did not.
func (s *source[T]) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// now is the newest value.
func (s *source[T]) now() reading[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := reading[T]{Value: s.value, At: s.at, Since: s.since, Busy: s.busy, every: s.every}
	if s.err != nil {
		r.Problem = reason(s.err)
	}
	return r
}
