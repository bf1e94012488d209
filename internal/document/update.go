package document

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"caravan/internal/event"
)

const (
	// indexFresh is the largest age of an index entry at the moment its document is written. The feed reads a bucket
	// only after it has settled, so a write must follow soon after its index entry (see package feed).
	indexFresh = 5 * time.Second
	// eventFresh is the largest age of an event when it is decided, and again at its first write. An event has the time
	// of its command, which may have waited. The feed looks for events around the time of their index entry (see
	// package feed).
	eventFresh = 10 * time.Second
)

// update is one compare-and-swap of a document for a group of commands.
type update[T any, P aggregate[T]] struct {
	repo *Repository[T, P]
	id   string
	key  string

	base    Record // the document before the decision
	warm    bool   // base was read ahead and may be stale
	indexed time.Time
	wrote   bool

	sequence int64         // of the newest event in base
	sealed   int           // how many sealed archives base has
	revision int64         // of base
	events   []event.Event // added by the decision
}

// guarded is run, but turns a panic into an error. The goroutine belongs to the repository: a panic in it would end the
// process while callers wait.
func (u *update[T, P]) guarded(ctx context.Context, commands []*command[P]) (doc P, outcomes []error, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Key: u.key, Value: value, Stack: debug.Stack()}
		}
	}()
	return u.run(ctx, commands)
}

// run decides and writes until every command is applied or refused, or until the time is over.
func (u *update[T, P]) run(ctx context.Context, commands []*command[P]) (P, []error, error) {
	if u.base, u.warm = u.repo.takeWarm(u.id); !u.warm {
		if err := u.begin(ctx); err != nil {
			return nil, nil, err
		}
	}
	for attempt := 0; ; attempt++ {
		doc, outcomes, changed, err := u.decide(commands)
		if err != nil {
			return nil, nil, err
		}
		if !changed && u.warm {
			// A refusal must depend on the present document, not on one that was read ahead.
			if err := u.load(ctx); err != nil {
				return nil, nil, err
			}
			continue
		}
		if !changed {
			return doc, outcomes, nil
		}
		stored, err := u.write(ctx, doc)
		if err != nil {
			return nil, nil, err
		}
		if stored {
			u.wrote = true
			u.publish()
			return doc, outcomes, nil
		}
		if err := u.repo.opts.Clock.Sleep(ctx, backoff(attempt)); err != nil {
			return nil, nil, fmt.Errorf("%w: too many concurrent writers", ErrUnknown)
		}
	}
}

// begin reads the document for its first decision. If its repository indexes early, it enters the key meanwhile.
func (u *update[T, P]) begin(ctx context.Context) error {
	if !u.repo.early {
		return u.load(ctx)
	}
	var indexing sync.WaitGroup
	indexing.Go(func() { _ = u.index(ctx) }) // without an entry, write tries again
	defer indexing.Wait()
	return u.load(ctx)
}

// load reads the present document.
func (u *update[T, P]) load(ctx context.Context) error {
	records, err := u.repo.store.Get(ctx, u.key)
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	u.base, u.warm = records[u.key], false
	return nil
}

// decide runs every command on a copy of the base. A command that refuses must not change the document. If one does,
// its change would spoil the write of the others, so decide runs the others again without it.
func (u *update[T, P]) decide(commands []*command[P]) (doc P, outcomes []error, changed bool, err error) {
	outcomes = make([]error, len(commands))
	for clean := false; !clean; {
		if doc, err = decode[T, P](u.key, u.base); err != nil {
			return nil, nil, false, err
		}
		u.sequence, u.sealed, u.revision = doc.root().Sequence, len(doc.root().Sealed), doc.root().Revision
		clean, changed = true, false
		for i, c := range commands {
			if refusal(outcomes[i]) {
				continue
			}
			outcomes[i] = u.apply(doc, c)
			changed = changed || outcomes[i] == nil
			if refusal(outcomes[i]) && len(commands) > 1 {
				clean = false
				break
			}
		}
	}
	return doc, outcomes, changed, nil
}

// refusal reports whether a decision returned an error of its own.
func refusal(err error) bool { return err != nil && !errors.Is(err, ErrUnchanged) }

// PanicError says that a decision about a document, or its write, panicked.
type PanicError struct {
	Key   string
	Value any    // the value of the panic
	Stack []byte // where it panicked
}

// Error names the document and the value of the panic.
func (e *PanicError) Error() string {
	return fmt.Sprintf("panic while updating %s: %v", e.Key, e.Value)
}

// apply runs one command and attributes the events that it added. If the decision panics, only this command is refused,
// because the commands of others share the write.
func (u *update[T, P]) apply(doc P, c *command[P]) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Key: u.key, Value: value, Stack: debug.Stack()}
		}
	}()
	root := doc.root()
	before := root.Sequence
	if err := c.decide(doc); err != nil {
		return err
	}
	// The next commands see a document that exists.
	root.Revision = u.revision + 1
	added := int(root.Sequence - before)
	u.repo.attribute(c.ctx, u.id, root.Timeline[len(root.Timeline)-added:])
	return nil
}

// write stores the decided document. It reports false when the document has to be decided again: another writer was
// faster (u.base is then that document), or the events have become too old.
func (u *update[T, P]) write(ctx context.Context, doc P) (bool, error) {
	root := doc.root()
	if err := u.archive(ctx, root); err != nil {
		return false, err
	}
	u.events = root.Timeline[len(root.Timeline)-int(root.Sequence-u.sequence):]
	root.trimTimeline(u.key, u.repo.opts.KeepEvents)
	root.WriteID = u.repo.opts.IDs.New()
	value, err := json.Marshal(doc)
	if err != nil {
		return false, fmt.Errorf("encoding: %w", err)
	}
	for attempt := 0; ; attempt++ {
		if len(u.events) > 0 {
			if err := u.index(ctx); err != nil {
				return false, err
			}
			// After the first attempt, only the same write may follow.
			if attempt == 0 && u.stale() {
				return false, nil
			}
		}
		putErr := u.repo.store.Put(ctx, u.key, value, u.base.ETag)
		if putErr == nil {
			return true, nil
		}
		stored, moved, err := u.readBack(ctx, root.WriteID)
		if stored || moved {
			return stored, nil
		}
		if err != nil {
			return false, err
		}
		// The document is unchanged. Only the same write may follow, because the first one may still be stored late.
		if err := u.repo.opts.Clock.Sleep(ctx, backoff(attempt)); err != nil {
			return false, fmt.Errorf("%w: %w", ErrUnknown, putErr)
		}
	}
}

// index records the key in the feed's current bucket, shortly before the write.
func (u *update[T, P]) index(ctx context.Context) error {
	if u.repo.opts.Index == nil {
		return nil
	}
	// An entry may be too old when the store was slow or the program was paused. When the clock was set back, the entry
	// is in a bucket where the feed does not look for this write.
	for now := u.repo.opts.Clock.Now(); now.Sub(u.indexed).Abs() >= indexFresh; now = u.repo.opts.Clock.Now() {
		if err := u.repo.opts.Index.Append(ctx, u.key); err != nil {
			return fmt.Errorf("indexing for the feed: %w", err)
		}
		u.indexed = now
	}
	return nil
}

// stale reports whether a new event has become too old since it was decided. The program was paused, or the archive or
// the index took long.
func (u *update[T, P]) stale() bool {
	now := u.repo.opts.Clock.Now()
	return slices.ContainsFunc(u.events, func(e event.Event) bool { return now.Sub(e.Time).Abs() > eventFresh })
}

// readBack finds out what a failed write did: our document is stored, another one is (moved), or nothing has changed.
// It tries until ctx ends.
func (u *update[T, P]) readBack(ctx context.Context, writeID string) (stored, moved bool, err error) {
	for attempt := 0; ; attempt++ {
		records, err := u.repo.store.Get(ctx, u.key)
		if err != nil {
			if u.repo.opts.Clock.Sleep(ctx, backoff(attempt)) != nil {
				return false, false, fmt.Errorf("%w: reading back: %w", ErrUnknown, err)
			}
			continue
		}
		record := records[u.key]
		var root Root
		if len(record.Value) > 0 {
			if err := json.Unmarshal(record.Value, &root); err != nil {
				return false, false, fmt.Errorf("decoding document %s: %w", u.key, err)
			}
		}
		switch {
		case root.WriteID == writeID:
			return true, false, nil
		case record.ETag != u.base.ETag || !bytes.Equal(record.Value, u.base.Value):
			u.base, u.warm = record, false
			return false, true, nil
		}
		return false, false, nil
	}
}

// archive writes what earlier writes sealed, and removes it from the head.
func (u *update[T, P]) archive(ctx context.Context, root *Root) error {
	for _, s := range root.Sealed[:u.sealed] {
		if err := createOnce(ctx, u.repo.store, s.Key, s.Value); err != nil {
			return fmt.Errorf("archiving to %s: %w", s.Key, err)
		}
	}
	root.Sealed = root.Sealed[u.sealed:]
	return nil
}

// createOnce creates an immutable document. Every writer writes the same content, so a document that exists already is
// a success.
func createOnce(ctx context.Context, store Store, key string, value []byte) error {
	putErr := store.Put(ctx, key, value, "")
	if putErr == nil {
		return nil
	}
	records, err := store.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if _, ok := records[key]; !ok {
		return fmt.Errorf("%w: %w", ErrUnknown, putErr)
	}
	return nil
}

func (u *update[T, P]) publish() {
	if u.repo.opts.Relay != nil && len(u.events) > 0 {
		u.repo.opts.Relay.Publish(u.events)
	}
}

// backoff grows from 2 ms to 250 ms. It needs no random part, because callers come at different times.
func backoff(attempt int) time.Duration {
	return min(2*time.Millisecond<<min(attempt, 7), 250*time.Millisecond)
}
