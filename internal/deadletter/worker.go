package deadletter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"caravan/internal/document"
	"caravan/internal/event"
)

const (
	// batchPoll is how often a worker looks for batches.
	batchPoll = 2 * time.Second
	// batchLease is how long a worker's claim on a batch is valid, and batchWrite how often the worker renews it.
	batchLease = 15 * time.Second
	batchWrite = time.Second
	// batchTries is how often a batch tries one letter while the failure is retriable, with batchPause between.
	batchTries = 5
	batchPause = time.Second
	// batchLate is the age at which an active batch without a document is removed.
	batchLate = time.Minute
)

// BatchWorker runs batches of dead letters. Any number of replicas may have one.
type BatchWorker struct {
	q  *Queue
	id string

	mu   sync.Mutex
	busy map[string]bool
}

// NewBatchWorker makes a BatchWorker; it works while Run runs.
func NewBatchWorker(q *Queue) *BatchWorker {
	return &BatchWorker{q: q, id: q.IDs.New(), busy: make(map[string]bool)}
}

// Run runs batches until ctx ends. Another replica, or this one after a restart, then continues them.
func (w *BatchWorker) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		if err := w.begin(ctx, &all); err != nil && ctx.Err() == nil {
			w.q.Log.WarnContext(ctx, "looking for batches of dead letters failed; it is tried again", "error", err)
		}
		if w.q.Clock.Sleep(ctx, batchPoll) != nil {
			return nil
		}
	}
}

// begin starts work on the active batches that this process does not work on yet.
func (w *BatchWorker) begin(ctx context.Context, all *sync.WaitGroup) error {
	active, err := w.q.activeBatches(ctx)
	if err != nil {
		return err
	}
	for _, a := range active {
		if !w.take(a.ID) {
			continue
		}
		all.Go(func() {
			defer w.leave(a.ID)
			err := protected(func() error { return w.Work(ctx, a) })
			if err != nil && ctx.Err() == nil {
				w.q.Log.WarnContext(ctx, "a batch of dead letters could not go on; it is tried again", "batch", a.ID, "error", err)
			}
		})
	}
	return nil
}

func (w *BatchWorker) take(batchID string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy[batchID] {
		return false
	}
	w.busy[batchID] = true
	return true
}

func (w *BatchWorker) leave(batchID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.busy, batchID)
}

// protected turns a panic into an error: a batch must not end the program.
func protected(f func() error) error {
	return event.Protect(func(context.Context, event.Event) error { return f() })(context.Background(), event.Event{})
}

// Work runs an active batch to its end, unless another worker has claimed it.
func (w *BatchWorker) Work(ctx context.Context, a ActiveBatch) error {
	now := w.q.Clock.Now()
	batch, err := w.q.batches.Update(ctx, a.ID, func(b *Batch) error { return b.Claim(w.id, now, batchLease) })
	switch {
	case errors.Is(err, ErrBatchTaken), errors.Is(err, document.ErrNotFound) && now.Sub(a.At) < batchLate:
		return nil
	case errors.Is(err, ErrBatchEnded), errors.Is(err, document.ErrNotFound):
		return w.q.leaveBatch(ctx, a.ID)
	case err != nil:
		return fmt.Errorf("claiming a batch: %w", err)
	}
	r := &batchRun{w: w, batch: batch, written: now, next: now}
	if err := r.run(ctx); err != nil {
		return err
	}
	return w.q.leaveBatch(ctx, a.ID)
}

// batchRun is one worker's work on a batch.
type batchRun struct {
	w     *BatchWorker
	batch *Batch // as it was last written

	undone  Progress  // done since the last write
	written time.Time // the time of the last write
	next    time.Time // the earliest time for the next letter
}

// run reads the list of letters. It returns nil when the batch has ended, or when another worker has claimed it.
func (r *batchRun) run(ctx context.Context) error {
	cursor := r.batch.Cursor
	for {
		s, err := r.w.q.lettersFrom(ctx, r.search(), cursor)
		if err != nil {
			return err
		}
		passed, err := r.through(ctx, s)
		if err != nil {
			return err
		}
		if passed < s.length {
			if s.next, err = s.after(passed); err != nil {
				return err
			}
		}
		cursor = s.next
		if cursor != "" && !r.due() {
			continue
		}
		if running, err := r.write(ctx, cursor); err != nil || !running {
			return err
		}
	}
}

// search is the part of the filter whose result the batch itself does not change.
func (r *batchRun) search() Filter {
	f := r.batch.Filter
	return Filter{Consumer: f.Consumer, Topic: f.Topic, Type: f.Type, Since: f.Since, Until: f.Until}
}

// due reports whether the progress should be written.
func (r *batchRun) due() bool { return r.w.q.Clock.Now().Sub(r.written) >= batchWrite }

// through processes the letters of a stretch until the progress has to be written. It returns how many entries of the
// list are done.
func (r *batchRun) through(ctx context.Context, s letterStretch) (passed int, err error) {
	for _, l := range s.letters {
		if l.FirstSeen.After(r.batch.RequestedAt) {
			continue // the letter is newer than the batch; without this limit the batch might never end
		}
		if err := r.letter(ctx, l.Letter); err != nil {
			return 0, err
		}
		r.undone.Scanned++
		if r.due() {
			return l.place + 1, nil
		}
	}
	return s.length, nil
}

// write stores the progress and the next cursor, and reports whether this worker continues with the batch.
func (r *batchRun) write(ctx context.Context, cursor string) (running bool, err error) {
	q, now := r.w.q, r.w.q.Clock.Now()
	ended := false
	batch, err := q.batches.Update(ctx, r.batch.ID, func(b *Batch) error {
		err := b.Advance(r.w.id, r.undone, cursor, now, batchLease)
		ended = err == nil && b.Status == BatchFinished
		return err
	})
	switch {
	case errors.Is(err, ErrBatchTaken):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("writing the progress of a batch: %w", err)
	}
	if ended {
		q.auditBatch(ctx, "finished", batch.RequestedBy, batch)
	}
	r.batch, r.undone, r.written = batch, Progress{}, now
	return batch.Status == BatchRunning, nil
}

// letter replays or discards one letter if the filter selects it, and counts it. If this batch has done that already,
// it only counts it, because the previous worker may have crashed between the two.
func (r *batchRun) letter(ctx context.Context, l *Letter) error {
	if done, ok := l.Done(r.batch.ID); ok {
		r.count(l.ID, done)
		return nil
	}
	if !r.batch.Filter.Matches(l) {
		return nil
	}
	if err := r.pace(ctx); err != nil {
		return err
	}
	if err := r.act(ctx, l); err != nil {
		return err
	}
	l, err := r.w.q.letters.Get(ctx, l.ID)
	if err != nil {
		return fmt.Errorf("reading what a batch did: %w", err)
	}
	if done, ok := l.Done(r.batch.ID); ok { // otherwise another client decided first
		r.count(l.ID, done)
	}
	return nil
}

func (r *batchRun) count(letterID string, done Action) {
	if done.Kind != ActionFailed {
		r.undone.Add(Progress{Done: 1})
		return
	}
	r.undone.Add(Progress{Failed: 1, Failures: []BatchFailure{{Letter: letterID, Reason: done.Outcome}}})
}

// pace waits until the rate allows another letter.
func (r *batchRun) pace(ctx context.Context) error {
	now := r.w.q.Clock.Now()
	if wait := r.next.Sub(now); wait > 0 {
		if err := r.w.q.Clock.Sleep(ctx, wait); err != nil {
			return err
		}
		now = r.next
	}
	r.next = now.Add(time.Second / time.Duration(r.batch.PerSecond))
	return nil
}

// act replays or discards a letter, and repeats that while the failure is retriable. An error stops the batch.
func (r *batchRun) act(ctx context.Context, l *Letter) error {
	for try := 1; ; try++ {
		in := Instruction{By: r.batch.RequestedBy, Reason: r.batch.Reason, operation: r.batch.ID, last: try == batchTries}
		var err error
		if r.batch.Kind == BatchReplay {
			_, err = r.w.q.replay(ctx, l, in)
		} else {
			_, err = r.w.q.Discard(ctx, l.ID, in)
		}
		var unreplayable *UnreplayableError
		switch {
		case err == nil, errors.As(err, &unreplayable), errors.Is(err, ErrDiscarded), errors.Is(err, ErrReplayed):
			return nil
		case ctx.Err() != nil, !event.Retriable(err):
			return err
		case in.last:
			return nil
		}
		if err := r.pause(ctx); err != nil {
			return err
		}
	}
}

// pause waits before another try and renews the claim on the batch.
func (r *batchRun) pause(ctx context.Context) error {
	if err := r.w.q.Clock.Sleep(ctx, batchPause); err != nil {
		return err
	}
	_, err := r.w.q.batches.Update(ctx, r.batch.ID, func(b *Batch) error { return b.Claim(r.w.id, r.w.q.Clock.Now(), batchLease) })
	return err
}
