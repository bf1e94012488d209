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
	// Store has the documents and Source is the service that their events name.
	Store    document.Store
	Source   string
	Coverage *Coverage
}

// TrailInvariants are those that a Trail checks.
var TrailInvariants = []string{document.InvariantTimeline, InvariantIndexed}

// Begin begins one page of an audit: it reads cursor into at, a pointer to the position of the service's own walk, and a part
// of the index. The page knows the given invariants and those of a Trail. While the index has not been read as a whole, ready
// is false and the page is complete as it is: the next one goes on from the same position.
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

// ReadIndex reads the whole index, for an audit that has no pages.
func (t Trail) ReadIndex(ctx context.Context) error {
	t.Coverage.Restart()
	for {
		if complete, err := t.Coverage.Extend(ctx); err != nil || complete {
			return err
		}
	}
}

// Head checks the events in the head of the document under key and returns them; subject is the id that they name.
func (t Trail) Head(into *audit.Results, key, subject string, root *document.Root) []event.Event {
	events := document.AuditTimeline(into, key, t.Source, subject, root)
	t.Coverage.Check(into, key, events)
	return events
}

// Segment checks the n-th (from 0) timeline segment of the document under key and returns its events.
func (t Trail) Segment(ctx context.Context, into *audit.Results, key, subject string, root *document.Root, n int64) ([]event.Event, error) {
	events, err := document.AuditTimelineSegment(ctx, t.Store, into, key, t.Source, subject, root, n)
	if err != nil {
		return nil, err
	}
	t.Coverage.Check(into, key, events)
	return events, nil
}

// Segments checks the timeline segments of the document under key from number from (0 is the first) on. It takes each from
// budget, the number of segments that the page may still read, and returns the number of the next one:
// root.TimelineSegments when all are done. visit, which may be nil, gets the events.
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
