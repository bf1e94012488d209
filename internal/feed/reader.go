package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/problem"
)

// Cursor is a place in the feed: an index entry. Its text form is "<bucket>.<slot>.<n>". The zero Cursor is the
// beginning.
type Cursor struct {
	Bucket Bucket
	Slot   int
	N      int
}

// String is the text form.
func (c Cursor) String() string {
	return fmt.Sprintf("%d.%d.%d", c.Bucket, c.Slot, c.N)
}

// ParseCursor reads the text form; "" is the zero Cursor.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	parts := strings.Split(s, ".")
	invalid := problem.Invalid(problem.FieldError{Field: "cursor", Code: "form", Message: "must be <bucket>.<slot>.<n>"})
	if len(parts) != 3 || len(s) > 64 {
		return Cursor{}, invalid
	}
	bucket, err1 := strconv.ParseInt(parts[0], 10, 64)
	slot, err2 := strconv.Atoi(parts[1])
	n, err3 := strconv.Atoi(parts[2])
	if err1 != nil || err2 != nil || err3 != nil || bucket < 0 || slot < 0 || slot >= slots || n < 0 {
		return Cursor{}, invalid
	}
	return Cursor{Bucket: Bucket(bucket), Slot: slot, N: n}, nil
}

// Reader reads a service's index and the events that it leads to.
type Reader struct {
	store  document.Store
	clock  clock.Clock
	timing Timing
}

// NewReader makes a Reader of the index in store.
func NewReader(store document.Store, clk clock.Clock, timing Timing) *Reader {
	return &Reader{store: store, clock: clk, timing: timing}
}

// Keys is a part of the feed: the keys of some index entries.
type Keys struct {
	// Buckets holds the keys by bucket, oldest first.
	Buckets []BucketKeys
	// Next is where the next call continues.
	Next Cursor
	// Settled is the furthest place that is final. A reader that stores its place stores Settled, and continues from
	// Next while it runs. Once Next is after Settled, the reader must not take a later Settled from its further calls:
	// it may have read a part of the feed before that part became final.
	Settled Cursor
	// End is set when nothing was left to read.
	End bool
}

// BucketKeys are the keys of one bucket.
type BucketKeys struct {
	Bucket Bucket
	Keys   []string
	// Next is the place after them.
	Next Cursor
}

// readAhead is how many entries of a slot are read at once.
const readAhead = 8

// keysTime limits one Keys call. A slow store returns less in that time.
const keysTime = 3 * time.Second

// Keys reads the feed from a cursor: up to about limit keys or for 3 s, and only buckets that ended at least age ago. A
// negative age includes the current bucket, which may still get entries before the place that was read.
func (r *Reader) Keys(ctx context.Context, from Cursor, limit int, age time.Duration) (Keys, error) {
	now := r.clock.Now()
	enough := now.Add(keysTime)
	if from == (Cursor{}) {
		first, err := r.first(ctx)
		if err != nil || first < 0 {
			return Keys{End: true}, err
		}
		from.Bucket = first
	}
	out := Keys{Next: from, Settled: from}
	newest := r.timing.bucket(now.Add(-age))
	settled := r.timing.bucket(now.Add(-r.timing.Settle))
	if from.Bucket >= settled { // the reader continues where its previous call ended
		out.Settled = Cursor{Bucket: settled}
	}
	count, quiet := 0, from.Slot == 0 && from.N == 0
	var front front
	for skipped := 0; out.Next.Bucket < newest && skipped < skipMost; {
		keys, next, err := r.slotKeys(ctx, &front, out.Next, limit-count)
		if err != nil {
			return Keys{}, err
		}
		quiet = quiet && len(keys) == 0
		if next.Bucket != out.Next.Bucket {
			if quiet {
				if next.Bucket, err = r.skip(ctx, next.Bucket, newest, enough, &skipped); err != nil {
					return Keys{}, err
				}
			}
			quiet = true
		}
		if len(keys) > 0 {
			out.Buckets = append(out.Buckets, BucketKeys{Bucket: out.Next.Bucket, Keys: keys, Next: next})
			count += len(keys)
		}
		out.Next = next
		if next.Bucket < settled {
			out.Settled = next
		} else if out.Settled.Bucket < settled {
			out.Settled = Cursor{Bucket: settled}
		}
		if count >= limit || !r.clock.Now().Before(enough) {
			return out, nil
		}
		if next.Slot == 0 && next.N == 0 && ctx.Err() != nil {
			return Keys{}, ctx.Err()
		}
	}
	out.End = out.Next.Bucket >= newest
	return out, nil
}

const (
	// skipAhead is how many buckets one read covers after an empty one.
	skipAhead = 16
	// skipMost limits the buckets that one Keys skips in this way.
	skipMost = 4096
)

// skip skips buckets without entries: up to the bucket end, until the time enough, and no more than skipMost of them.
// It counts them. A feed is mostly empty, and one read of many buckets costs little more than one of one slot.
func (r *Reader) skip(ctx context.Context, b, end Bucket, enough time.Time, skipped *int) (Bucket, error) {
	for b < end && *skipped < skipMost && r.clock.Now().Before(enough) {
		var keys []string
		var ahead []Bucket
		for at := b; at < end && len(ahead) < skipAhead; at = r.timing.next(at) {
			ahead = append(ahead, at)
			for slot := range slots {
				keys = append(keys, entryKey(at, slot, 0))
			}
		}
		records, err := r.store.Get(ctx, keys...)
		if err != nil {
			return b, fmt.Errorf("reading the index: %w", err)
		}
		for i, at := range ahead {
			for _, key := range keys[i*slots : (i+1)*slots] {
				if _, busy := records[key]; busy {
					return at, nil
				}
			}
			b = r.timing.next(at)
			*skipped++
		}
	}
	return b, nil
}

// first is the bucket in which the feed began, or -1.
func (r *Reader) first(ctx context.Context) (Bucket, error) {
	records, err := r.store.Get(ctx, firstKey)
	if err != nil {
		return 0, fmt.Errorf("reading the first bucket: %w", err)
	}
	record, ok := records[firstKey]
	if !ok {
		return -1, nil
	}
	var b Bucket
	if err := json.Unmarshal(record.Value, &b); err != nil {
		return 0, fmt.Errorf("decoding the first bucket: %w", err)
	}
	return b, nil
}

// front has what one read returned of a bucket: the first entries of its slots. Most buckets have no more.
type front struct {
	bucket  Bucket
	slot    int // the first slot that was read
	records map[string]document.Record
}

// entries reads the next readAhead entries of a slot.
func (r *Reader) entries(ctx context.Context, known *front, at Cursor) (wanted []string, records map[string]document.Record, err error) {
	for i := range readAhead {
		wanted = append(wanted, entryKey(at.Bucket, at.Slot, at.N+i))
	}
	switch {
	case at.N > 0:
		records, err = r.store.Get(ctx, wanted...)
	case known.records != nil && known.bucket == at.Bucket && known.slot <= at.Slot:
		records = known.records
	default:
		keys := slices.Clone(wanted)
		for slot := at.Slot + 1; slot < slots; slot++ {
			for i := range readAhead {
				keys = append(keys, entryKey(at.Bucket, slot, i))
			}
		}
		records, err = r.store.Get(ctx, keys...)
		*known = front{at.Bucket, at.Slot, records}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the index: %w", err)
	}
	return wanted, records, nil
}

// slotKeys reads entries of one slot of one bucket from a cursor. It returns the next place too.
func (r *Reader) slotKeys(ctx context.Context, known *front, at Cursor, limit int) ([]string, Cursor, error) {
	var keys []string
	for len(keys) < max(limit, 1) {
		wanted, records, err := r.entries(ctx, known, at)
		if err != nil {
			return nil, at, err
		}
		for _, k := range wanted {
			record, ok := records[k]
			if !ok {
				return keys, r.following(at), nil
			}
			var entered []string
			if err := json.Unmarshal(record.Value, &entered); err != nil {
				return nil, at, fmt.Errorf("decoding index entry %s: %w", k, err)
			}
			keys = append(keys, entered...)
			if at.N++; len(keys) >= limit {
				break
			}
		}
	}
	return keys, at, nil
}

// following returns the beginning of the next slot or bucket.
func (r *Reader) following(c Cursor) Cursor {
	if c.Slot+1 < slots {
		return Cursor{Bucket: c.Bucket, Slot: c.Slot + 1}
	}
	return Cursor{Bucket: r.timing.next(c.Bucket)}
}

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

// Events reads the events of the documents whose keys are in some buckets: those decided around that time.
func (r *Reader) Events(ctx context.Context, buckets ...BucketKeys) ([]event.Event, error) {
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
		timelines, err := r.timelines(ctx, part, records, around)
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
func (r *Reader) timelines(ctx context.Context, keys []string, records map[string]document.Record, of map[string]span) ([][]event.Event, error) {
	timelines := make([][]event.Event, len(keys))
	group, ctx := errgroup.WithContext(ctx)
	for i, key := range keys {
		record, ok := records[key]
		if !ok {
			continue // its key was entered, but it was never written
		}
		group.Go(func() (err error) {
			timelines[i], err = r.timeline(ctx, key, record, of[key])
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
func (r *Reader) timeline(ctx context.Context, key string, record document.Record, of span) ([]event.Event, error) {
	var root document.Root
	if err := json.Unmarshal(record.Value, &root); err != nil {
		return nil, fmt.Errorf("decoding document %s: %w", key, err)
	}
	segment := func(n int64) ([]event.Event, error) { return r.segment(ctx, key, &root, n) }
	timeline, older := root.Timeline, root.TimelineSegments
	if older > 0 && len(timeline) > 0 && !timeline[0].Time.Before(of.to.Add(window)) {
		timeline = nil
		var err error
		if older, err = segmentsBefore(older, of.to.Add(window), segment); err != nil {
			return nil, err
		}
	}
	for ; older > 0 && (len(timeline) == 0 || !timeline[0].Time.Before(of.from.Add(-window))); older-- {
		events, err := segment(older - 1)
		if err != nil {
			return nil, err
		}
		timeline = slices.Concat(events, timeline)
	}
	var events []event.Event
	for _, e := range timeline {
		if !e.Time.Before(of.from) && e.Time.Before(of.to) {
			events = append(events, e)
		}
	}
	return events, nil
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

// segment reads segment n (from 0) of a timeline.
func (r *Reader) segment(ctx context.Context, key string, root *document.Root, n int64) ([]event.Event, error) {
	var events []event.Event
	found, err := document.ReadArchive(ctx, r.store, root, document.TimelineSegmentKey(key, n), &events)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("timeline segment %d of %s is missing", n, key)
	}
	return events, nil
}

// Ahead is an age for Keys, to be passed as a negative number. It includes the buckets after the current one that
// replicas with a faster clock may use.
func (r *Reader) Ahead() time.Duration { return window }

// Final is the age from which every event is in the part of the feed that is served. By then its bucket has settled,
// whatever the difference of the replicas' clocks.
func (r *Reader) Final() time.Duration { return r.timing.Settle + r.timing.Bucket + 2*window }
