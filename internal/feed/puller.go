package feed

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/id"
	"caravan/internal/invoke"
)

// Puller pulls the feed of one producer at long intervals and hands each event that was not seen to a handler. It makes
// delivery complete; the broker only makes it fast.
type Puller struct {
	// Producer is the app whose feed is pulled.
	Producer string
	Invoker  invoke.Invoker
	Store    document.Store
	// Seen has the events that were handled, whether pushed or pulled.
	Seen   *Seen
	Handle event.Handler
	// DeadLetter stores an event that Handle can never handle, and why. While it fails, the Puller repeats that event's
	// page, because otherwise the event would be lost. DeadLetter and Handle are called for several events at once.
	DeadLetter func(ctx context.Context, e event.Event, cause error) error
	Clock      clock.Clock
	IDs        id.Source
	Log        *slog.Logger
	Every      time.Duration
	cursors    *document.Repository[cursorDocument, *cursorDocument]
}

// cursorDocument stores how far a consumer has pulled a producer's feed.
type cursorDocument struct {
	document.Root
	Settled string `json:"settled"`
}

// cursorsOf are the cursors that a consumer keeps in its store.
func cursorsOf(store document.Store, clk clock.Clock, ids id.Source) *document.Repository[cursorDocument, *cursorDocument] {
	return document.NewRepository[cursorDocument](store, document.Options{Prefix: "cursor/", Clock: clk, IDs: ids})
}

// StoredCursor is the place from which the consumer with the given store pulls a producer's feed, or "" when the
// consumer has stored none yet.
func StoredCursor(ctx context.Context, store document.Store, producer string) (string, error) {
	docs, err := cursorsOf(store, nil, nil).GetMany(ctx, producer) // a read needs neither time nor ids
	if err != nil {
		return "", fmt.Errorf("reading the cursor: %w", err)
	}
	if doc, ok := docs[producer]; ok {
		return doc.Settled, nil
	}
	return "", nil
}

// Run pulls until ctx ends.
func (p *Puller) Run(ctx context.Context) error {
	p.cursors = cursorsOf(p.Store, p.Clock, p.IDs)
	for {
		if err := p.Pull(ctx); err != nil && ctx.Err() == nil {
			p.Log.WarnContext(ctx, "pulling the feed failed; it continues from the same place", "producer", p.Producer, "error", err)
		}
		if err := p.Clock.Sleep(ctx, p.Every); err != nil {
			return nil
		}
	}
}

// Pull reads the feed once, from the stored cursor to the end.
func (p *Puller) Pull(ctx context.Context) error {
	if p.cursors == nil {
		p.cursors = cursorsOf(p.Store, p.Clock, p.IDs)
	}
	cursor, err := StoredCursor(ctx, p.Store, p.Producer)
	if err != nil {
		return err
	}
	stored := cursor
	for {
		var page Response
		if err := p.Invoker.Invoke(ctx, p.Producer, Path, Request{Cursor: cursor}, &page); err != nil {
			return err
		}
		if err := p.deliverAll(ctx, page.Events); err != nil {
			return err
		}
		if page.Settled != stored && page.Settled != (Cursor{}).String() {
			if err := p.advance(ctx, page.Settled); err != nil {
				return err
			}
			stored = page.Settled
		}
		if page.End || page.Next == cursor {
			return nil
		}
		cursor = page.Next
	}
}

// deliveries is how many pulled events are handled at once. There are many after a long time without the broker, and
// events for one document share its writes.
const deliveries = 32

// deliverAll hands events over, in no order. When an event cannot be handled now, it starts no further ones. It waits
// for those that have started; the next pull delivers the rest.
func (p *Puller) deliverAll(ctx context.Context, events []event.Event) error {
	var group errgroup.Group // without a context: a failure does not cancel the others
	group.SetLimit(deliveries)
	var failed atomic.Bool
	for _, e := range events {
		if failed.Load() {
			break
		}
		group.Go(func() error {
			err := p.deliver(ctx, e)
			if err != nil {
				failed.Store(true)
			}
			return err
		})
	}
	return group.Wait()
}

// deliver handles one event. An event that can never be handled becomes a dead letter, so it is not lost and does not
// stop the feed.
func (p *Puller) deliver(ctx context.Context, e event.Event) error {
	malformed := e.Check()
	if malformed == nil && p.Seen.Has(e.ID) {
		return nil
	}
	ctx = correlation.Remote(ctx, e.CorrelationID, e.TraceParent)
	start, err := p.Clock.Now(), malformed
	if err == nil {
		err = event.Protect(p.Handle)(ctx, e)
	}
	attributes := []any{"feed", p.Producer, "event", e.ID, "type", e.Type, "aggregate", e.Subject, "duration_ms", p.Clock.Now().Sub(start).Milliseconds()}
	switch {
	case err == nil:
		p.Log.InfoContext(ctx, "event pulled", attributes...) // a pushed one has the message "event"
	case event.Retriable(err):
		return fmt.Errorf("handling pulled event %s: %w", e.ID, err)
	default:
		p.Log.ErrorContext(ctx, "pulled event goes to the dead letters", append(append(attributes, "error", err), event.Stack(err)...)...)
		if err := p.DeadLetter(ctx, e, err); err != nil {
			return fmt.Errorf("dead-lettering pulled event %s: %w", e.ID, err)
		}
	}
	if malformed == nil { // a malformed event may have the id of another
		p.Seen.Add(e.ID)
	}
	return nil
}

// advance stores the cursor. It never moves it backwards.
func (p *Puller) advance(ctx context.Context, settled string) error {
	to, err := ParseCursor(settled)
	if err != nil {
		return fmt.Errorf("feed of %s: %w", p.Producer, err)
	}
	_, err = p.cursors.Update(ctx, p.Producer, func(d *cursorDocument) error {
		if at, err := ParseCursor(d.Settled); err == nil && !at.Before(to) {
			return document.ErrUnchanged
		}
		d.Settled = settled
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing the cursor: %w", err)
	}
	return nil
}

// Before reports whether c is before o in the feed.
func (c Cursor) Before(o Cursor) bool {
	if c.Bucket != o.Bucket {
		return c.Bucket < o.Bucket
	}
	if c.Slot != o.Slot {
		return c.Slot < o.Slot
	}
	return c.N < o.N
}
