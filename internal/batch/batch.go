// Package batch combines concurrent calls of one kind into fewer, larger ones.
//
// No call waits for others to join it. While fewer than the allowed number of runs are under way, a call starts at
// once, alone. Calls that arrive later start together when a run ends. So an idle system keeps its latency, and in a
// loaded one the calls share their cost.
package batch

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Result is the outcome of one call of a run.
type Result[R any] struct {
	Value R
	Err   error
}

// Options set the limits of a Batcher.
type Options struct {
	// Size is the largest number of calls in one run; at least 1.
	Size int
	// Lanes is how many runs may be under way at once; at least 1.
	Lanes int
	// Timeout is the deadline of one run. A run serves several callers, so it ends early only when all of them have
	// gone.
	Timeout time.Duration
	// Distinct, if set, keeps calls with equal keys out of the same run: the later one is in the next run.
	Distinct bool
}

// Batcher runs calls of type C with results of type R.
type Batcher[C, R any] struct {
	run  func(context.Context, []C) []Result[R]
	key  func(C) string
	opts Options

	mu      sync.Mutex
	waiting []call[C, R]
	running int
}

type call[C, R any] struct {
	ctx     context.Context
	command C
	done    chan Result[R]
}

// abandoned reports whether the caller has gone, or is about to: contexts with the same deadline do not end at exactly
// the same instant.
func (c call[C, R]) abandoned() bool {
	deadline, ok := c.ctx.Deadline()
	return c.ctx.Err() != nil || ok && time.Until(deadline) <= 0
}

// New makes a Batcher. run gets at least one command and returns one result for each, in order. key is needed only when
// opts.Distinct is set.
func New[C, R any](opts Options, key func(C) string, run func(context.Context, []C) []Result[R]) *Batcher[C, R] {
	opts.Size = max(opts.Size, 1)
	opts.Lanes = max(opts.Lanes, 1)
	return &Batcher[C, R]{run: run, key: key, opts: opts}
}

// Do runs one command and waits for its result or for the end of ctx. If ctx ends first, the command may still take
// effect if its run has begun. A command that still waits then is never run.
func (b *Batcher[C, R]) Do(ctx context.Context, command C) (R, error) {
	c := call[C, R]{ctx: ctx, command: command, done: make(chan Result[R], 1)}
	b.mu.Lock()
	b.waiting = append(b.waiting, c)
	if b.running < b.opts.Lanes {
		b.running++
		go b.drain()
	}
	b.mu.Unlock()
	select {
	case r := <-c.done:
		return r.Value, r.Err
	case <-ctx.Done():
		var none R
		return none, ctx.Err()
	}
}

// drain runs batches until no call waits. It owns its lane and ends by itself.
func (b *Batcher[C, R]) drain() {
	for {
		calls := b.take()
		if len(calls) == 0 {
			return
		}
		b.deliver(calls)
	}
}

// take removes the next batch from the queue, or frees the lane. It drops calls whose callers have gone. Otherwise,
// while calls hang, such calls would accumulate and take effect long after the last caller stopped waiting.
func (b *Batcher[C, R]) take() []call[C, R] {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = slices.DeleteFunc(b.waiting, call[C, R].abandoned)
	if len(b.waiting) == 0 {
		b.running--
		return nil
	}
	if !b.opts.Distinct {
		n := min(len(b.waiting), b.opts.Size)
		calls := b.waiting[:n:n]
		b.waiting = b.waiting[n:]
		return calls
	}
	var calls, rest []call[C, R]
	seen := make(map[string]bool, b.opts.Size)
	for _, c := range b.waiting {
		k := b.key(c.command)
		if seen[k] || len(calls) == b.opts.Size {
			rest = append(rest, c)
			seen[k] = true // keep the order of calls with one key
			continue
		}
		seen[k] = true
		calls = append(calls, c)
	}
	b.waiting = rest
	return calls
}

func (b *Batcher[C, R]) deliver(calls []call[C, R]) {
	ctx := context.WithoutCancel(calls[0].ctx)
	if last, ok := latestDeadline(calls); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, last)
		defer cancel()
	}
	if b.opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.opts.Timeout)
		defer cancel()
	}
	commands := make([]C, len(calls))
	for i, c := range calls {
		commands[i] = c.command
	}
	results := b.run(ctx, commands)
	for i, c := range calls {
		c.done <- results[i]
	}
}

// latestDeadline returns the last of the callers' deadlines, or false if one of them has none.
func latestDeadline[C, R any](calls []call[C, R]) (last time.Time, ok bool) {
	for _, c := range calls {
		deadline, ok := c.ctx.Deadline()
		if !ok {
			return time.Time{}, false
		}
		if deadline.After(last) {
			last = deadline
		}
	}
	return last, true
}
