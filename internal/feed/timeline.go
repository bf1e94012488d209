package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/recent"
)

const (
	// window is more than the difference between clocks (see Timing.Settle) and more than the age of an event at its
	// write. A larger range to search costs little, so it is generous.
	window = time.Minute
	// eventBefore and eventAfter limit how far the time of an event may be before and after the bucket of its key. The
	// same program sets both times: an event is at most 10 s old when it is written, and its entry at most 5 s (package
	// document). The rest allows for clocks that are set in between.
	eventBefore = 30 * time.Second
	eventAfter  = 10 * time.Second
)

const (
	// segmentsAtOnce is how many segments of one document are read at once. A document that is written all the time has more than one
	// for each second.
	segmentsAtOnce = 16
	// segmentsKnown is about how many segments one page remembers, each of up to 16 KiB.
	segmentsKnown = 256
)

// segments are the timeline segments that one page has read. They never change, and the next bucket of a document that is written
// all the time needs most of them again.
type segments struct {
	store document.Store
	known *recent.Map[[]event.Event]
}

func newSegments(store document.Store) *segments {
	return &segments{store: store, known: recent.New[[]event.Event](segmentsKnown)}
}

// events reads the events of the documents whose keys are in some buckets: those decided around that time.
func (r *Reader) events(ctx context.Context, archive *segments, buckets ...BucketKeys) ([]event.Event, error) {
	var keys []string
	around := make(map[string]span)
	for _, b := range buckets {
		at := span{time.Unix(int64(b.Bucket), 0).Add(-eventBefore), time.Unix(int64(r.timing.next(b.Bucket)), 0).Add(eventAfter)}
		for _, key := range b.Keys {
			known, met := around[key]
			if !met {
				keys, known = append(keys, key), at
			}
			around[key] = known.with(at)
		}
	}
	var events []event.Event
	for part := range slices.Chunk(keys, 64) {
		records, err := r.store.Get(ctx, part...)
		if err != nil {
			return nil, fmt.Errorf("reading documents of the feed: %w", err)
		}
		timelines, err := archive.timelines(ctx, part, records, around)
		if err != nil {
			return nil, err
		}
		events = append(events, slices.Concat(timelines...)...)
	}
	return events, nil
}

// span is the time from one moment to another.
type span struct{ from, to time.Time }

// with returns the span that covers both.
func (s span) with(o span) span {
	if o.from.Before(s.from) {
		s.from = o.from
	}
	if o.to.After(s.to) {
		s.to = o.to
	}
	return s
}

// timelines returns the events of several documents in the order of their keys, each within its span. It starts all
// reads at once, because concurrent reads share a call of the store.
func (s *segments) timelines(ctx context.Context, keys []string, records map[string]document.Record, of map[string]span) ([][]event.Event, error) {
	timelines := make([][]event.Event, len(keys))
	group, ctx := errgroup.WithContext(ctx)
	for i, key := range keys {
		record, ok := records[key]
		if !ok {
			continue // its key was entered, but it was never written
		}
		group.Go(func() (err error) {
			timelines[i], err = s.timeline(ctx, key, record, of[key])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return timelines, nil
}

// timeline returns the events of a document within a span of time, from its head and from its segments. Events are in
// the order of their writes. Their times come from the clocks of several replicas, so they may be out of order by the
// difference of those clocks.
func (s *segments) timeline(ctx context.Context, key string, record document.Record, of span) ([]event.Event, error) {
	var root document.Root
	if err := json.Unmarshal(record.Value, &root); err != nil {
		return nil, fmt.Errorf("decoding document %s: %w", key, err)
	}
	timeline, older := root.Timeline, root.TimelineSegments
	if older > 0 && len(timeline) > 0 && !timeline[0].Time.Before(of.to.Add(window)) {
		timeline = nil
		var err error
		one := func(n int64) ([]event.Event, error) { return s.read(ctx, key, &root, n) }
		if older, err = segmentsBefore(older, of.to.Add(window), one); err != nil {
			return nil, err
		}
	}
	for step := int64(1); older > 0 && (len(timeline) == 0 || !timeline[0].Time.Before(of.from.Add(-window))); step = min(2*step, segmentsAtOnce) {
		from := max(older-step, 0)
		events, err := s.between(ctx, key, &root, from, older)
		if err != nil {
			return nil, err
		}
		timeline, older = append(events, timeline...), from
	}
	var events []event.Event
	for _, e := range timeline {
		if !e.Time.Before(of.from) && e.Time.Before(of.to) {
			events = append(events, e)
		}
	}
	return events, nil
}

// between returns the events of segments, of which to is not included. It reads all at once, because concurrent reads share a call of
// the store.
func (s *segments) between(ctx context.Context, key string, root *document.Root, from, to int64) ([]event.Event, error) {
	parts := make([][]event.Event, to-from)
	group, ctx := errgroup.WithContext(ctx)
	for i := range parts {
		group.Go(func() (err error) {
			parts[i], err = s.read(ctx, key, root, from+int64(i))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(parts...), nil
}

// segmentsBefore is how many of a document's segments begin before a time. A wallet or a stock may have thousands of
// segments, so it reads only a few of them.
func segmentsBefore(segments int64, at time.Time, read func(n int64) ([]event.Event, error)) (int64, error) {
	var failed error
	n := sort.Search(int(segments), func(n int) bool {
		if failed != nil {
			return true
		}
		events, err := read(int64(n))
		failed = err
		return len(events) > 0 && !events[0].Time.Before(at)
	})
	return int64(n), failed
}

// read reads segment n (from 0) of a timeline.
func (s *segments) read(ctx context.Context, key string, root *document.Root, n int64) ([]event.Event, error) {
	at := document.TimelineSegmentKey(key, n)
	if events, ok := s.known.Get(at); ok {
		return events, nil
	}
	var events []event.Event
	found, err := document.ReadArchive(ctx, s.store, root, at, &events)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("timeline segment %d of %s is missing", n, key)
	}
	s.known.Update(at, func([]event.Event) []event.Event { return events })
	return events, nil
}
