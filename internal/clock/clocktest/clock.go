// Package clocktest has a clock for tests.
package clocktest

import (
	"context"
	"sync"
	"time"
)

// Clock stands still until a test advances it. Sleep advances it, and does not wait.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// At makes a Clock that shows a time.
func At(now time.Time) *Clock { return &Clock{now: now} }

// Now implements clock.Clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Sleep implements clock.Clock.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	c.Advance(max(d, 0))
	return ctx.Err()
}

// Advance moves the time on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
