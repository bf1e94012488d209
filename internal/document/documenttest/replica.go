package documenttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"caravan/internal/document"
)

// ErrCrashed is the error of every operation of a crashed Replica.
var ErrCrashed = errors.New("this replica has crashed")

// Replica is the environment of one replica of a program: its store, its clock and its ids. It can crash after a number
// of store operations. Then every operation fails.
type Replica struct {
	// Store is shared by all replicas.
	Store *FakeStore
	// Name is the prefix of the ids of the replica.
	Name string
	// Time is the time of the replica's clock.
	Time func() time.Time
	// Meanwhile, if set, runs before each read of a key. It simulates a concurrent change by others.
	Meanwhile func(key string)
	// Left is the number of store operations until the crash. A negative number means never.
	Left int
	// Doomed, if set, chooses the keys whose writes count. Then no other operation counts.
	Doomed func(key string) bool
	// Lands means that the store keeps the write during which the replica crashes.
	Lands bool

	mu  sync.Mutex
	ids int
}

// step takes one operation. It reports whether the operation happens and whether its caller gets an answer.
func (r *Replica) step(counts bool) (happens, answers bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.Left < 0 || r.Left > 0 && !counts:
		return true, true
	case r.Left == 0:
		return false, false
	}
	r.Left--
	return r.Left > 0 || r.Lands, r.Left > 0
}

// CrashAfter has the replica crash after a number of store operations from now on; 0 crashes it now. Unlike setting Left, it may be
// called while the replica works.
func (r *Replica) CrashAfter(operations int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Left = operations
}

// Crashed reports whether the replica has crashed.
func (r *Replica) Crashed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Left == 0
}

// Get implements document.Store.
func (r *Replica) Get(ctx context.Context, keys ...string) (map[string]document.Record, error) {
	if r.Meanwhile != nil {
		r.Meanwhile(keys[0])
	}
	if _, answers := r.step(r.Doomed == nil); !answers {
		return nil, ErrCrashed
	}
	return r.Store.Get(ctx, keys...)
}

// Put implements document.Store.
func (r *Replica) Put(ctx context.Context, key string, value []byte, etag string) error {
	happens, answers := r.step(r.Doomed == nil || r.Doomed(key))
	err := ErrCrashed
	if happens {
		err = r.Store.Put(ctx, key, value, etag)
	}
	if !answers {
		return ErrCrashed
	}
	return err
}

// Now implements clock.Clock.
func (r *Replica) Now() time.Time { return r.Time() }

// Sleep implements clock.Clock. It does not wait; a crashed replica never wakes up.
func (r *Replica) Sleep(ctx context.Context, _ time.Duration) error {
	if r.Crashed() {
		return ErrCrashed
	}
	return ctx.Err()
}

// New implements id.Source.
func (r *Replica) New() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids++
	return fmt.Sprintf("%s-%d", r.Name, r.ids)
}
