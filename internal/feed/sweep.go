package feed

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
)

// Sweep finds documents whose work has stopped, after a crash, a lost start or with a full queue, by reading the
// program's own feed. Nothing else is needed to bring the work of every document to its end.
//
// It reads the feed in two kinds of passes. Fast passes read young buckets and keep their place in memory only. Slow
// passes read each bucket when it has settled, and only they move the stored cursor. They enter documents that have not
// ended in the present bucket, so that the stored cursor never passes one. For some minutes they do the same with an
// entry whose document does not exist: a sidecar that was frozen may write the document long after its client has given
// up.
type Sweep struct {
	// Name is the id of the document that has the cursor; it is the same in all replicas.
	Name string
	// Start starts the work on those documents under keys that have not ended, and returns their keys and the keys
	// without a document. The feed has keys of other kinds of documents too; it returns none of those.
	Start  func(ctx context.Context, keys []string) (unfinished, unwritten []string, err error)
	Reader *Reader
	Index  document.Index
	Store  document.Store
	Clock  clock.Clock
	IDs    id.Source
	Log    *slog.Logger
	Every  time.Duration
	// Settle is the age at which a bucket is final. Young is the least age of the buckets that a fast pass reads: most
	// documents have ended by then. If it is 0, only the first pass is a fast one.
	Settle, Young time.Duration

	// unwritten says when slow passes first found each entry without a document.
	unwritten map[string]time.Time
}

type sweepCursor struct {
	document.Root
	Settled string `json:"settled"`
}

const (
	// sweepLimit is about how many documents are read at once.
	sweepLimit = 256
	// unwrittenFor is how long after its entry a document is expected.
	unwrittenFor = 10 * time.Minute
	// UnwrittenMost bounds the entries without a document that a Sweep remembers.
	UnwrittenMost = 4096
)

// Run sweeps until ctx ends. The first pass reads everything since the stored cursor, including the present bucket: after
// a restart nothing else does.
func (s *Sweep) Run(ctx context.Context) error {
	fast, err := s.Behind(ctx)
	if err != nil {
		return err
	}
	first := true
	for {
		var err error
		if first || s.Young > 0 {
			fast, err = s.young(ctx, fast, first)
		}
		if err == nil {
			first = false
			err = s.Pass(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "sweeping failed and goes on from the same place", "sweep", s.Name, "error", err)
		}
		if s.Clock.Sleep(ctx, s.Every) != nil {
			return nil
		}
	}
}

// young makes a fast pass. The first one includes the present bucket, which is read again later.
func (s *Sweep) young(ctx context.Context, from Cursor, first bool) (Cursor, error) {
	if !first {
		return s.fast(ctx, from, s.Young)
	}
	_, err := s.fast(ctx, from, -time.Minute)
	return from, err
}

// fast starts the unfinished documents of buckets of at least the given age.
func (s *Sweep) fast(ctx context.Context, from Cursor, age time.Duration) (Cursor, error) {
	for {
		keys, err := s.Reader.Keys(ctx, from, sweepLimit, age)
		if err != nil {
			return from, fmt.Errorf("reading own feed: %w", err)
		}
		for _, b := range keys.Buckets {
			if _, _, err := s.Start(ctx, b.Keys); err != nil {
				return from, err
			}
		}
		if from = keys.Next; keys.End {
			return from, nil
		}
	}
}

// Pass makes a slow pass: it moves the stored cursor over settled buckets.
func (s *Sweep) Pass(ctx context.Context) error {
	from, err := s.Behind(ctx)
	if err != nil {
		return err
	}
	for {
		keys, err := s.Reader.Keys(ctx, from, sweepLimit, s.Settle)
		if err != nil {
			return fmt.Errorf("reading own feed: %w", err)
		}
		for _, b := range keys.Buckets {
			if err := s.settled(ctx, b.Keys); err != nil {
				return err
			}
		}
		if keys.Next == from {
			return nil
		}
		if err := s.store(ctx, keys.Next); err != nil {
			return err
		}
		if from = keys.Next; keys.End {
			return nil
		}
	}
}

// settled starts the unfinished documents of a settled bucket, and enters them again.
func (s *Sweep) settled(ctx context.Context, keys []string) error {
	unfinished, unwritten, err := s.Start(ctx, keys)
	if err != nil {
		return err
	}
	if len(s.unwritten) > 0 {
		found := make(map[string]bool, len(keys))
		for _, key := range keys {
			found[key] = true
		}
		for _, key := range unwritten {
			delete(found, key)
		}
		for key := range found {
			delete(s.unwritten, key)
		}
	}
	return s.enter(ctx, append(unfinished, s.expected(unwritten)...))
}

// expected returns those entries without a document whose document may still come.
func (s *Sweep) expected(keys []string) (expected []string) {
	if s.unwritten == nil {
		s.unwritten = make(map[string]time.Time)
	}
	now := s.Clock.Now()
	for _, key := range keys {
		if _, known := s.unwritten[key]; !known && len(s.unwritten) >= UnwrittenMost {
			// An entry that was given up is remembered for as long again, as another replica may enter it once more.
			maps.DeleteFunc(s.unwritten, func(_ string, first time.Time) bool { return now.Sub(first) > 2*unwrittenFor })
			if len(s.unwritten) >= UnwrittenMost {
				continue // the store is overloaded: most of these never come, and each entry is a write
			}
		}
		first, known := s.unwritten[key]
		if !known {
			first, s.unwritten[key] = now, now
		}
		if now.Sub(first) < unwrittenFor {
			expected = append(expected, key)
		}
	}
	return expected
}

// Unwritten is how many entries without a document the sweep remembers. It must not be called while Run or Pass runs.
func (s *Sweep) Unwritten() int { return len(s.unwritten) }

// enter enters documents in the present bucket.
func (s *Sweep) enter(ctx context.Context, keys []string) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, key := range keys { // at most about sweepLimit
		group.Go(func() error { return s.Index.Append(ctx, key) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("entering unfinished documents again: %w", err)
	}
	return nil
}

// Behind returns the stored cursor. The feed has an entry behind it of every document that has not ended.
func (s *Sweep) Behind(ctx context.Context) (Cursor, error) {
	docs, err := s.cursors().GetMany(ctx, s.Name)
	if err != nil {
		return Cursor{}, fmt.Errorf("reading the sweep's cursor: %w", err)
	}
	if doc, ok := docs[s.Name]; ok {
		return ParseCursor(doc.Settled)
	}
	return Cursor{}, nil
}

func (s *Sweep) cursors() *document.Repository[sweepCursor, *sweepCursor] {
	return document.NewRepository[sweepCursor](s.Store, document.Options{Prefix: "sweep/", Clock: s.Clock, IDs: s.IDs})
}

// store keeps the furthest cursor of all replicas.
func (s *Sweep) store(ctx context.Context, to Cursor) error {
	_, err := s.cursors().Update(ctx, s.Name, func(c *sweepCursor) error {
		if at, err := ParseCursor(c.Settled); err == nil && !at.Before(to) {
			return document.ErrUnchanged
		}
		c.Settled = to.String()
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing the sweep's cursor: %w", err)
	}
	return nil
}
