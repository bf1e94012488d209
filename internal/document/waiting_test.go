package document_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
)

// away is a store that cannot be read until a given time.
type away struct {
	document.Store
	until time.Time
	with  error
	reads int
}

func (a *away) Get(context.Context, ...string) (map[string]document.Record, error) {
	if a.reads++; time.Now().Before(a.until) {
		return nil, a.with
	}
	return map[string]document.Record{"a": {ETag: "1"}}, nil
}

func TestWaiting(t *testing.T) {
	broken := document.Unavailable{Err: errors.New("connection reset by peer")}
	for name, c := range map[string]struct {
		away, gone time.Duration // how long the store is unavailable; when the caller gives up
		with, want error
		reads      int
	}{
		"a store that is there":     {0, time.Hour, broken, nil, 1},
		"a store that comes back":   {24 * time.Second, time.Hour, broken, nil, 10},
		"a store that stays away":   {time.Hour, time.Hour, broken, broken, 17},
		"a caller that gives up":    {time.Hour, 3 * time.Second, broken, broken, 4},
		"an error that stays so":    {time.Hour, time.Hour, document.ErrNotFound, document.ErrNotFound, 1},
		"a key that cannot be read": {time.Hour, time.Hour, errors.New("bad key"), nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.gone)
				defer cancel()
				inner := &away{until: time.Now().Add(c.away), with: c.with}
				records, err := document.Waiting(inner, clock.System{}, time.Minute).Get(ctx, "a")
				if (err == nil) != (c.away == 0 || c.away < time.Minute) || c.want != nil && !errors.Is(err, c.want) || err == nil && len(records) != 1 {
					t.Errorf("%v, %v", records, err)
				}
				if inner.reads != c.reads {
					t.Errorf("%d reads, want %d", inner.reads, c.reads)
				}
			})
		})
	}
}
