package feed

import (
	"context"
	"fmt"
	"slices"

	"caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/page"
)

// Trail audits the events of a service's documents: whether they are complete and whether the feed leads to them.
type Trail struct {
	// Store has the documents. Source is the service in their events.
	Store    document.Store
	Source   string
	Coverage *Coverage
}

// TrailInvariants are the invariants that a Trail checks.
var TrailInvariants = []string{document.InvariantTimeline, InvariantIndexed}

// Begin begins one page of an audit. It reads cursor into at, which points to the position of the service's own walk,
// and it reads a part of the index. The page knows the given invariants and those of a Trail. ready is false until the
// whole index was read. Then the page is complete as it is, and the next one continues from the same position.
func (t Trail) Begin(ctx context.Context, cursor string, at any, invariants ...string) (p audit.Page, ready bool, err error) {
	if err := page.Decode(cursor, at); err != nil {
		return audit.Page{}, false, err
	}
	if cursor == "" {
		t.Coverage.Restart()
	}
	if ready, err = t.Coverage.Extend(ctx); err != nil {
		return audit.Page{}, false, fmt.Errorf("auditing: %w", err)
	}
	p = audit.NewPage(slices.Concat(invariants, TrailInvariants)...)
	if !ready {
		p.Next = page.Encode(at)
	}
	return p, ready, nil
}

// ReadIndex reads the whole index, for an audit without pages.
func (t Trail) ReadIndex(ctx context.Context) error {
	t.Coverage.Restart()
	for {
		if complete, err := t.Coverage.Extend(ctx); err != nil || complete {
			return err
		}
	}
}

// Head checks the events in the head of the document under key and returns them. subject is the id in the events.
func (t Trail) Head(into *audit.Results, key, subject string, root *document.Root) []event.Event {
	events := document.AuditTimeline(into, key, t.Source, subject, root)
	t.Coverage.Check(into, key, events)
	return events
}

// Segment checks timeline segment n (from 0) of the document under key and returns its events.
func (t Trail) Segment(ctx context.Context, into *audit.Results, key, subject string, root *document.Root, n int64) ([]event.Event, error) {
	events, err := document.AuditTimelineSegment(ctx, t.Store, into, key, t.Source, subject, root, n)
	if err != nil {
		return nil, err
	}
	t.Coverage.Check(into, key, events)
	return events, nil
}

// Segments checks the timeline segments of the document under key, beginning with number from (0 is the first). It
// takes each from budget, the number of segments that the page may still read. It returns the number of the next
// segment, which is root.TimelineSegments when all are done. visit gets the events and may be nil.
func (t Trail) Segments(ctx context.Context, into *audit.Results, key, subject string, root *document.Root, from int64, budget *int,
	visit func([]event.Event)) (int64, error) {
	for ; from < root.TimelineSegments && *budget > 0; from++ {
		events, err := t.Segment(ctx, into, key, subject, root, from)
		if err != nil {
			return from, err
		}
		if *budget--; visit != nil {
			visit(events)
		}
	}
	return from, nil
}
