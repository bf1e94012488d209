package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
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
		keys, next, err := r.slotKeys(ctx, &front, out.Next, newest, limit-count)
		if err != nil {
			return Keys{}, err
		}
		quiet = quiet && len(keys) == 0
		if next.Bucket != out.Next.Bucket {
			if quiet && !front.has(next) {
				front.size = 0
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

const (
	// frontMost is of how many buckets the first entries are read at once.
	frontMost = 16
	// frontEntries is how many entries are the first ones of a slot. Most slots of most buckets have none, and a key costs about as
	// much if it is absent. So the others are read only of slots that have one.
	frontEntries = 4
	// entriesMost is how many further entries of a slot are read at once.
	entriesMost = 64
)

// front has the first entries of the slots of some buckets. In a feed in which bucket follows bucket, it grows with each read.
type front struct {
	from, to Bucket // to is not included
	slot     int    // the first slot of the first bucket that was read
	size     int    // in buckets, of the last read
	records  map[string]document.Record
}

// has reports whether the first entries at a place were read.
func (f *front) has(at Cursor) bool {
	return at.Bucket >= f.from && at.Bucket < f.to && (at.Bucket > f.from || at.Slot >= f.slot)
}

// read reads the front at a place, and of the buckets behind it that begin before end.
func (f *front) read(ctx context.Context, r *Reader, at Cursor, end Bucket) (err error) {
	f.size = min(max(2*f.size, 1), frontMost)
	f.from, f.to, f.slot = at.Bucket, at.Bucket, at.Slot
	var places []Cursor
	var keys []string
	for n := 0; n == 0 || n < f.size && f.to < end; n++ {
		for slot := range slots {
			if place := (Cursor{Bucket: f.to, Slot: slot}); !place.Before(at) {
				places, keys = append(places, place), append(keys, entryKey(f.to, slot, 0))
			}
		}
		f.to = r.timing.next(f.to)
	}
	if f.records, err = r.store.Get(ctx, keys...); err != nil {
		return err
	}
	var further []string
	for i, place := range places {
		if _, busy := f.records[keys[i]]; busy {
			for n := 1; n < frontEntries; n++ {
				further = append(further, entryKey(place.Bucket, place.Slot, n))
			}
		}
	}
	if len(further) == 0 {
		return nil
	}
	records, err := r.store.Get(ctx, further...)
	maps.Copy(f.records, records)
	return err
}

// entries reads the next entries of a slot. wanted are their keys, in order.
func (r *Reader) entries(ctx context.Context, known *front, at Cursor, end Bucket) (wanted []string, records map[string]document.Record, err error) {
	ahead := frontEntries
	if at.N > 0 { // a slot with more entries than the first ones has many of them
		ahead = min(max(at.N, frontEntries), entriesMost)
	}
	for i := range ahead {
		wanted = append(wanted, entryKey(at.Bucket, at.Slot, at.N+i))
	}
	switch {
	case at.N > 0:
		records, err = r.store.Get(ctx, wanted...)
	case !known.has(at):
		err = known.read(ctx, r, at, end)
		records = known.records
	default:
		records = known.records
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the index: %w", err)
	}
	return wanted, records, nil
}

// slotKeys reads entries of one slot of one bucket from a cursor. It returns the next place too. Buckets from end on are not read.
func (r *Reader) slotKeys(ctx context.Context, known *front, at Cursor, end Bucket, limit int) ([]string, Cursor, error) {
	var keys []string
	for len(keys) < max(limit, 1) {
		wanted, records, err := r.entries(ctx, known, at, end)
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

// Ahead is an age for Keys, to be passed as a negative number. It includes the buckets after the current one that
// replicas with a faster clock may use.
func (r *Reader) Ahead() time.Duration { return window }

// At is the place in the feed at which the entries of documents begin that were written at a time or later.
func (r *Reader) At(ctx context.Context, t time.Time) (Cursor, error) {
	first, err := r.first(ctx)
	if err != nil || first < 0 {
		return Cursor{}, err
	}
	return Cursor{Bucket: max(first, r.timing.bucket(t.Add(-window)))}, nil
}

// Final is the age from which every event is in the part of the feed that is served. By then its bucket has settled,
// whatever the difference of the replicas' clocks.
func (r *Reader) Final() time.Duration { return r.timing.Settle + r.timing.Bucket + 2*window }
