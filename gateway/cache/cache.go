// Package cache keeps answers to readers without credentials for a short time, in bounded memory (RFC 9111). Equal requests
// share one call. While calls fail, an older answer is served (RFC 5861). Which requests may use it is decided by the edge.
//
// It needs no notice of changes: an answer is never served for longer than its Policy says after the call for it began.
package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"caravan/internal/clock"
)

// ErrUnshared means that the answer is only for the request whose call got it, or that there is none. The other requests have
// to call for themselves.
var ErrUnshared = errors.New("the answer is not for several requests")

// Policy is how long the answers of a route are kept. A service can shorten these times by its Cache-Control, and never lengthen
// them.
type Policy struct {
	Fresh time.Duration // an answer is served without a call, from the beginning of its own call
	Stale time.Duration // for so long after Fresh it is served while another request renews it
	Error time.Duration // it is served while calls fail, from the beginning of its own call
	// Control is the Cache-Control for readers.
	Control []string
}

// Answer is the answer of a service. It is not changed after it was handed over.
type Answer struct {
	Status int
	Header http.Header // what readers may get
	Body   []byte
	Cookie bool   // the service also sent a cookie
	ETag   string // set by the cache, "" unless it keeps the answer
}

// Kind is how a request got its answer.
type Kind string

// The kinds, as in logs and metrics.
const (
	Hit    Kind = "hit"    // kept, and fresh
	Stale  Kind = "stale"  // kept, while another request renews it or calls fail
	Shared Kind = "shared" // of the call of another request
	Miss   Kind = "miss"   // of a call of its own
)

// Found is an answer to a request. Age is zero unless it was kept.
type Found struct {
	*Answer
	Kind Kind
	Age  time.Duration
}

// Call gets an answer from the service. It may outlive the request that began it, since others wait for it, so it needs a
// deadline. An error means that the service failed, except [ErrUnshared].
type Call func(ctx context.Context) (*Answer, error)

// Settings of a Cache.
type Settings struct {
	Entries int   // most answers
	Bytes   int64 // most bytes of all answers
	Clock   clock.Clock
}

// Cache keeps answers. It is safe for concurrent use.
type Cache struct {
	clock clock.Clock

	mu    sync.Mutex
	kept  store
	calls map[string]*running // the youngest of each key
}

// running is a call that requests may wait for. The fields after done are written before done is closed.
type running struct {
	began   time.Time
	changed bool // the resource was changed since; guarded by the cache's mutex
	done    chan struct{}
	found   Found
	err     error
}

// New returns an empty cache.
func New(s Settings) *Cache {
	return &Cache{clock: s.Clock, kept: newStore(s.Entries, s.Bytes), calls: make(map[string]*running)}
}

// Get returns an answer that is served without waiting.
func (c *Cache) Get(key string) (Found, bool) {
	now := c.clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get(key, now)
}

func (c *Cache) get(key string, now time.Time) (Found, bool) {
	e := c.kept.get(key)
	if e == nil {
		return Found{}, false
	}
	age := now.Sub(e.began)
	switch {
	case age < 0: // the clock was set back
		return Found{}, false
	case age < e.fresh:
		return Found{e.answer, Hit, age}, true
	case age < e.stale && c.calls[key] != nil, age < e.failing && now.Sub(e.failedAt) < e.fresh:
		return Found{e.answer, Stale, age}, true
	}
	return Found{}, false
}

// Load returns an answer like Get, or waits for one: for that of another request if its call began a short time ago, else for
// its own. It returns the error of the call if nothing can be served, and that of ctx if it ends while the request waits for
// another one.
func (c *Cache) Load(ctx context.Context, key string, p *Policy, call Call) (Found, error) {
	now := c.clock.Now()
	c.mu.Lock()
	if found, ok := c.get(key, now); ok {
		c.mu.Unlock()
		return found, nil
	}
	// What an older call returns could be older than what is served from memory.
	if other := c.calls[key]; other != nil && now.Sub(other.began) < p.Fresh+p.Stale {
		c.mu.Unlock()
		return other.wait(ctx)
	}
	own := &running{began: now, done: make(chan struct{}), err: ErrUnshared}
	c.calls[key] = own
	c.mu.Unlock()
	return c.lead(ctx, key, p, own, call)
}

// wait returns the answer of the call of another request.
func (r *running) wait(ctx context.Context) (Found, error) {
	select {
	case <-r.done:
		return r.found, r.err
	case <-ctx.Done():
		return Found{}, fmt.Errorf("waiting for the answer to another request: %w", ctx.Err())
	}
}

// lead makes the call in the request that found no answer, and hands the answer to those that wait. A call that panics leaves
// them ErrUnshared.
func (c *Cache) lead(ctx context.Context, key string, p *Policy, own *running, call Call) (Found, error) {
	defer func() {
		c.mu.Lock()
		if c.calls[key] == own {
			delete(c.calls, key)
		}
		c.mu.Unlock()
		close(own.done)
	}()
	answer, err := call(context.WithoutCancel(ctx))
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settle(key, p, own, answer, err)
}

// settle decides what becomes of an answer, and returns what the request that called for it gets.
func (c *Cache) settle(key string, p *Policy, own *running, answer *Answer, err error) (Found, error) {
	failed := err != nil && !errors.Is(err, ErrUnshared) || err == nil && answer.Status >= http.StatusInternalServerError
	if failed {
		if older, ok := c.fallback(key); ok {
			own.found, own.err = older, nil
			return older, nil
		}
	}
	if err != nil {
		own.err = err
		return Found{}, err
	}
	e, shared := keep(key, p, answer, own.began)
	if !shared {
		if !failed {
			c.kept.removeOlder(key, own.began) // it is not what the service answers now
		}
		return Found{answer, Miss, 0}, nil
	}
	if !own.changed {
		c.kept.add(e)
	}
	own.found, own.err = Found{e.answer, Shared, 0}, nil
	return Found{e.answer, Miss, 0}, nil
}

// fallback returns the answer to serve while calls fail. The next call is made when the time has passed for which an answer is
// fresh.
func (c *Cache) fallback(key string) (Found, bool) {
	e, now := c.kept.get(key), c.clock.Now()
	if e == nil {
		return Found{}, false
	}
	age := now.Sub(e.began)
	if age < 0 || age >= e.failing {
		return Found{}, false
	}
	e.failedAt = now
	return Found{e.answer, Stale, age}, true
}

// Forget removes the answer of a key whose resource was changed (RFC 9111, section 4.4). Calls that began before are not kept,
// and no other request joins them.
func (c *Cache) Forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept.remove(key)
	if call := c.calls[key]; call != nil {
		call.changed = true
		delete(c.calls, key)
	}
}

// Size returns the number of answers and their bytes.
func (c *Cache) Size() (entries int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.kept.entries), c.kept.bytes
}
