package document

import (
	"context"
	"fmt"

	"caravan/internal/audit"
	"caravan/internal/event"
)

// InvariantTimeline is the name of an invariant: the events of an aggregate, in its head and in its timeline segments,
// are numbered from 1 without a gap, and each id follows from the number.
const InvariantTimeline = "events-without-gap"

// AuditTimeline checks the events in the head of the aggregate under key and returns them. The events must have the
// given source and subject.
func AuditTimeline(into *audit.Results, key, source, subject string, r *Root) []event.Event {
	first := r.TimelineSegments*TimelineSegment + 1
	last := first + int64(len(r.Timeline)) - 1
	into.Check(last == r.Sequence, InvariantTimeline, key, "the events go up to %d, the document says %d", last, r.Sequence)
	numbered(into, key, source, subject, first, r.Timeline)
	return r.Timeline
}

// AuditTimelineSegment checks timeline segment n (from 0) of the aggregate under key and returns its events. r must be
// the root of the aggregate, read when the segment existed already.
func AuditTimelineSegment(ctx context.Context, store Store, into *audit.Results, key, source, subject string, r *Root, n int64) ([]event.Event, error) {
	at := TimelineSegmentKey(key, n)
	var events []event.Event
	found, err := ReadArchive(ctx, store, r, at, &events)
	if err != nil {
		return nil, fmt.Errorf("auditing a timeline: %w", err)
	}
	into.Check(found && len(events) == TimelineSegment, InvariantTimeline, at, "the segment has %d events, not %d", len(events), TimelineSegment)
	numbered(into, at, source, subject, n*TimelineSegment+1, events)
	return events, nil
}

// numbered checks that the numbers of events begin with first and have no gap.
func numbered(into *audit.Results, key, source, subject string, first int64, events []event.Event) {
	for i, e := range events {
		n := first + int64(i)
		into.Check(e.Sequence == n && e.ID == event.ID(source, subject, n), InvariantTimeline, key,
			"at the place of event %d is %d, %q", n, e.Sequence, e.ID)
	}
}
