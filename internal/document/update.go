package document

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"caravan/internal/event"
)

const (
	// indexFresh is the largest age of an index entry at the moment its document is
	// written. The feed reads a bucket only after it has settled, so a write must
	// not follow its index entry by long (see package feed).
	indexFresh = 5 * time.Second
	// eventFresh is the largest age of an event at the moment it is decided about, and
	// again at its first write. Its time is that of the command, which may have waited;
	// the feed looks for events around the time of their index entry (see package feed).
	eventFresh = 10 * time.Second
)

// update is one compare-and-swap of a document for a group of commands.
type update[T any, P aggregate[T]] struct {
	repo *Repository[T, P]
	id   string
	key  string

	base    Record // what the decision starts from
	warm    bool   // base was read ahead and may be stale
	indexed time.Time
	wrote   bool

	sequence int64         // of the newest event in base
	sealed   int           // how many sealed archives base holds
	revision int64         // of base
	events   []event.Event // that the decision added
}

// guarded is run with a panic turned into an error: this is the repository's own
// goroutine, where a panic would end the process and leave the callers waiting.
func (u *update[T, P]) guarded(ctx context.Context, commands []*command[P]) (doc P, outcomes []error, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Key: u.key, Value: value, Stack: debug.Stack()}
		}
	}()
	return u.run(ctx, commands)
}

// run decides and writes until the commands are applied, refused or out of time.
func (u *update[T, P]) run(ctx context.Context, commands []*command[P]) (P, []error, error) {
	if u.base, u.warm = u.repo.takeWarm(u.id); !u.warm {
		if err := u.load(ctx); err != nil {
			return nil, nil, err
		}
	}
	for attempt := 0; ; attempt++ {
		doc, outcomes, changed, err := u.decide(commands)
		if err != nil {
			return nil, nil, err
		}
		if !changed && u.warm {
			// A refusal must rest on the present document, not on one read ahead.
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

// load reads the document afresh.
func (u *update[T, P]) load(ctx context.Context) error {
	records, err := u.repo.store.Get(ctx, u.key)
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	u.base, u.warm = records[u.key], false
	return nil
}

// decide runs every command on a copy of the base. A command that refuses must
// leave the document alone; as one that does not would corrupt the others'
// write, the rest is decided again without it.
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

// refusal reports whether a decision ended in an error of its own.
func refusal(err error) bool { return err != nil && !errors.Is(err, ErrUnchanged) }

// PanicError says that deciding about a document, or writing it, panicked.
type PanicError struct {
	Key   string
	Value any    // what it panicked with
	Stack []byte // where
}

// Error names the document and the value of the panic.
func (e *PanicError) Error() string {
	return fmt.Sprintf("panic while updating %s: %v", e.Key, e.Value)
}

// apply runs one command and attributes the events it added. A panic of the
// decision is its refusal alone: the commands of others share the write.
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
	// The commands after this one find a document that exists.
	root.Revision = u.revision + 1
	added := int(root.Sequence - before)
	u.repo.attribute(c.ctx, u.id, root.Timeline[len(root.Timeline)-added:])
	return nil
}

// write stores the decided document. It reports false when it has to be decided
// again: another writer was faster, whose document u.base then is, or its events
// have become old.
func (u *update[T, P]) write(ctx context.Context, doc P) (bool, error) {
	root := doc.root()
	if err := u.archive(ctx, root); err != nil {
		return false, err
	}
	u.events = root.Timeline[len(root.Timeline)-int(root.Sequence-u.sequence):]
	root.trimTimeline(u.key)
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
			// Once it has been tried, only the same write may follow.
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
		// Unchanged: only the same write may follow, as it may still land late.
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
	// An entry that took long, or a program that stood still, is as late as a document that did; one made before the
	// clock was set back lies where nobody looks for this write.
	for now := u.repo.opts.Clock.Now(); now.Sub(u.indexed).Abs() >= indexFresh; now = u.repo.opts.Clock.Now() {
		if err := u.repo.opts.Index.Append(ctx, u.key); err != nil {
			return fmt.Errorf("indexing for the feed: %w", err)
		}
		u.indexed = now
	}
	return nil
}

// stale reports whether a new event has become too old since it was decided: the
// program stood still, or its archive or its index took long.
func (u *update[T, P]) stale() bool {
	now := u.repo.opts.Clock.Now()
	return slices.ContainsFunc(u.events, func(e event.Event) bool { return now.Sub(e.Time).Abs() > eventFresh })
}

// readBack learns what a failed write left behind: ours is stored, another's
// document is (moved), or nothing has changed. It insists until ctx ends.
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

// archive writes what earlier writes sealed and drops it from the head.
func (u *update[T, P]) archive(ctx context.Context, root *Root) error {
	for _, s := range root.Sealed[:u.sealed] {
		if err := createOnce(ctx, u.repo.store, s.Key, s.Value); err != nil {
			return fmt.Errorf("archiving to %s: %w", s.Key, err)
		}
	}
	root.Sealed = root.Sealed[u.sealed:]
	return nil
}

// createOnce creates an immutable document. Every writer of it writes the same
// content, so finding it there is success.
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

// publish hands the new events to the relay.
func (u *update[T, P]) publish() {
	if u.repo.opts.Relay != nil && len(u.events) > 0 {
		u.repo.opts.Relay.Publish(u.events)
	}
}

// backoff grows from 2 ms to 250 ms; callers' own rhythm spreads them.
func backoff(attempt int) time.Duration {
	return min(2*time.Millisecond<<min(attempt, 7), 250*time.Millisecond)
}
