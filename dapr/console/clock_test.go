package main

import (
	"context"
	"time"
)

// moving is a clock that a test moves.
type moving struct{ now time.Time }

// Now implements clock.Clock.
func (m *moving) Now() time.Time { return m.now }

// Sleep implements clock.Clock.
func (m *moving) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }
