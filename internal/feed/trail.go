package feed

import (
	"context"

	"caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/event"
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
