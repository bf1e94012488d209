package batch_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/batch"
)

func TestALoneCallLeavesAtOnceAndAlone(t *testing.T) {
	b := batch.New(batch.Options{Size: 10, Lanes: 1}, nil, func(_ context.Context, in []int) []batch.Result[int] {
		return []batch.Result[int]{{Value: in[0] * 2}}
	})
	if v, err := b.Do(t.Context(), 21); v != 42 || err != nil {
		t.Fatal(v, err)
	}
}

func TestCallsThatArriveDuringARunShareTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		b := batch.New(batch.Options{Size: 4, Lanes: 1}, nil, func(_ context.Context, in []int) []batch.Result[int] {
			time.Sleep(time.Second) // virtual time of the test bubble
			sizes = append(sizes, len(in))
			out := make([]batch.Result[int], len(in))
			for i, n := range in {
				out[i].Value = n
			}
			return out
		})
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				if v, err := b.Do(t.Context(), i); v != i || err != nil {
					t.Errorf("call %d got %d, %v", i, v, err)
				}
			})
			if i == 0 {
				synctest.Wait()
			}
		}
		all.Wait()
		if !slices.Equal(sizes, []int{1, 4, 4, 1}) {
			t.Errorf("runs of %v", sizes)
		}
	})
}

func TestEqualKeysNeverShareARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clashes atomic.Int32
		b := batch.New(batch.Options{Size: 8, Lanes: 1, Distinct: true}, func(s string) string { return s },
			func(_ context.Context, in []string) []batch.Result[struct{}] {
				time.Sleep(time.Second)
				sorted := slices.Clone(in)
				slices.Sort(sorted)
				if len(slices.Compact(sorted)) != len(in) {
					clashes.Add(1)
				}
				return make([]batch.Result[struct{}], len(in))
			})
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() { _, _ = b.Do(t.Context(), string(rune('a'+i%3))) })
		}
		all.Wait()
		if clashes.Load() > 0 {
			t.Errorf("%d runs held a key twice", clashes.Load())
		}
	})
}

func TestACallerThatLeavesDoesNotEndTheRunOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := batch.New(batch.Options{Size: 2, Lanes: 1, Timeout: time.Minute}, nil, func(ctx context.Context, in []int) []batch.Result[error] {
			time.Sleep(time.Second)
			return slices.Repeat([]batch.Result[error]{{Value: ctx.Err()}}, len(in))
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := b.Do(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the leaving caller got %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if ctxErr, err := b.Do(t.Context(), 2); ctxErr != nil || err != nil {
				t.Errorf("the staying caller got %v, %v", ctxErr, err)
			}
		})
		all.Wait()
	})
}

// A command whose caller has gone while it waited must not take effect later. When calls take longer than their callers
// wait, only commands that no caller is waiting for would be executed.
func TestWhatNobodyWaitsForNeverLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left []int
		b := batch.New(batch.Options{Size: 1, Lanes: 1, Timeout: 5 * time.Second}, nil, func(ctx context.Context, in []int) []batch.Result[struct{}] {
			left = append(left, in...)
			<-ctx.Done() // the call hangs
			return []batch.Result[struct{}]{{Err: ctx.Err()}}
		})
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
				defer cancel()
				if _, err := b.Do(ctx, i); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("call %d: %v", i, err)
				}
			})
		}
		all.Wait()
		time.Sleep(time.Hour) // virtual time
		synctest.Wait()
		if len(left) != 2 {
			t.Errorf("calls %v left; only the two whose turn came within 8 s should have", left)
		}
	})
}

// A run ends when its last caller has gone, because a write that leaves late also takes effect late.
func TestARunEndsWithItsLastCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var ends []time.Duration
		b := batch.New(batch.Options{Size: 2, Lanes: 1, Timeout: 5 * time.Second}, nil, func(ctx context.Context, in []int) []batch.Result[struct{}] {
			<-ctx.Done()
			ends = append(ends, time.Since(began))
			return make([]batch.Result[struct{}], len(in))
		})
		var all sync.WaitGroup
		for _, timeout := range []time.Duration{time.Minute, 6 * time.Second, 8 * time.Second, time.Minute} {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				_, _ = b.Do(ctx, 1)
			})
			synctest.Wait()
		}
		all.Wait()
		if want := []time.Duration{5 * time.Second, 8 * time.Second, 13 * time.Second}; !slices.Equal(ends, want) {
			t.Errorf("the runs ended after %v; want %v", ends, want)
		}
	})
}
