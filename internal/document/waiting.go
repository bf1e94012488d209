package document

import (
	"context"
	"errors"
	"time"

	"caravan/internal/clock"
)

const (
	firstWait   = 250 * time.Millisecond // before a read is repeated for the first time
	longestWait = 5 * time.Second
)

// waiting is a store whose reads wait while it is unavailable.
type waiting struct {
	Store
	clock clock.Clock
	limit time.Duration
}

// Waiting returns a store whose reads wait while the store is unavailable, each for up to limit. It is for work without
// a waiting caller that would have to start from the beginning, such as an audit. A request should fail early instead.
func Waiting(store Store, clk clock.Clock, limit time.Duration) Store {
	return waiting{Store: store, clock: clk, limit: limit}
}

// Get implements Store.
func (w waiting) Get(ctx context.Context, keys ...string) (map[string]Record, error) {
	until := w.clock.Now().Add(w.limit)
	for pause := firstWait; ; pause = min(2*pause, longestWait) {
		records, err := w.Store.Get(ctx, keys...)
		var unavailable Unavailable
		if !errors.As(err, &unavailable) || w.clock.Now().After(until) || w.clock.Sleep(ctx, pause) != nil {
			return records, err
		}
	}
}
