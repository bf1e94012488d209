// Package feed makes events reliable over a broker that may lose them.
//
// A publish that Dapr answers with success can still be lost, so the broker is
// the fast path and the documents are the truth. Before a document with a new
// event is written, its key is entered in an index of the current time bucket;
// after the write the event is published. Consumers get events pushed by the
// broker and, on a slow clock, pull what producers' documents hold and handle
// what they have not seen. Handlers are idempotent, so both may deliver.
package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"sync"
	"time"

	"caravan/internal/batch"
	"caravan/internal/clock"
	"caravan/internal/document"
)

const (
	// slots spread the index writers of several replicas over separate chains
	// of entries, so that they rarely meet; readers read them all.
	slots = 4
	// entryKeys bounds the keys in one index entry document.
	entryKeys = 256
	// firstKey holds the bucket in which the feed began.
	firstKey = "feed/first"
)

// Timing says how the feed divides and trusts time.
type Timing struct {
	// Bucket is the length of one index bucket; at least 1 s.
	Bucket time.Duration
	// Settle is the age at which a bucket is final: by then every write whose
	// index entry lies in it has landed or failed. It covers the time from the
	// entry until the last try of its write leaves (8 s, the deadline of an update),
	// the longest late write of a store (20 s), and the most by which a reader's
	// clock may be ahead of a writer's or a sidecar may stand still with a write
	// (15 s).
	Settle time.Duration
}

// DefaultTiming suits every store.
func DefaultTiming() Timing { return Timing{Bucket: 10 * time.Second, Settle: 45 * time.Second} }

// Bucket is the start of a time bucket in Unix seconds.
type Bucket int64

func (t Timing) bucket(at time.Time) Bucket {
	length := int64(max(t.Bucket, time.Second) / time.Second)
	return Bucket(at.Unix() / length * length)
}

func (t Timing) next(b Bucket) Bucket { return b + Bucket(max(t.Bucket, time.Second)/time.Second) }

// Index enters keys into the buckets; it implements document.Index.
//
// An entry is a document feed/<bucket>/<slot>/<n> that is created once and never
// changed, with n counting from 0 without gaps, so that a writer needs no read
// and a reader stops at the first n that is missing.
type Index struct {
	store  document.Store
	clock  clock.Clock
	timing Timing
	slot   int
	writes *batch.Batcher[string, struct{}]

	mu      sync.Mutex
	bucket  Bucket
	next    int
	entered map[string]bool
	began   bool
}

// NewIndex makes the Index of one process; writer is an id of the process.
func NewIndex(store document.Store, clk clock.Clock, timing Timing, writer string) *Index {
	h := fnv.New32a()
	h.Write([]byte(writer))
	x := &Index{store: store, clock: clk, timing: timing, slot: int(h.Sum32() % slots), entered: make(map[string]bool)}
	x.writes = batch.New(batch.Options{Size: entryKeys, Lanes: 1, Timeout: 8 * time.Second}, nil, x.enter)
	return x
}

// Append enters a key in the current bucket. A key that this process has
// entered in it before costs nothing.
func (x *Index) Append(ctx context.Context, key string) error {
	x.mu.Lock()
	known := x.bucket == x.timing.bucket(x.clock.Now()) && x.entered[key]
	x.mu.Unlock()
	if known {
		return nil
	}
	_, err := x.writes.Do(ctx, key)
	return err
}

// enter writes one index entry for the keys that wait. Only one enter runs at a
// time, which makes it the owner of bucket and next.
func (x *Index) enter(ctx context.Context, keys []string) []batch.Result[struct{}] {
	err := x.write(ctx, keys)
	results := make([]batch.Result[struct{}], len(keys))
	for i := range results {
		results[i].Err = err
	}
	return results
}

func (x *Index) write(ctx context.Context, keys []string) error {
	if err := x.begin(ctx); err != nil {
		return err
	}
	bucket := x.timing.bucket(x.clock.Now())
	x.mu.Lock()
	if bucket != x.bucket {
		x.bucket, x.next = bucket, 0
		clear(x.entered)
	}
	x.mu.Unlock()
	slices.Sort(keys)
	keys = slices.Compact(keys)
	value, err := json.Marshal(keys)
	if err != nil {
		return fmt.Errorf("encoding index entry: %w", err)
	}
	for {
		ours, err := x.create(ctx, entryKey(bucket, x.slot, x.next), value)
		if err != nil {
			return err
		}
		x.next++
		if ours {
			break
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, k := range keys {
		x.entered[k] = true
	}
	return nil
}

// create makes one entry document; it reports false when another replica's
// entry has that number. It never leaves a number undecided, as a gap would hide
// the entries after it.
func (x *Index) create(ctx context.Context, key string, value []byte) (bool, error) {
	for attempt := 0; ; attempt++ {
		putErr := x.store.Put(ctx, key, value, "")
		if putErr == nil {
			return true, nil
		}
		records, err := x.store.Get(ctx, key)
		if err == nil {
			if r, ok := records[key]; ok {
				// The same keys from another replica serve as well as ours.
				return string(r.Value) == string(value), nil
			}
		}
		if x.clock.Sleep(ctx, min(2*time.Millisecond<<min(attempt, 7), 250*time.Millisecond)) != nil {
			return false, fmt.Errorf("entering %s: %w: %w", key, document.ErrUnknown, putErr)
		}
	}
}

// begin notes, once, from which bucket on the feed is to be read.
func (x *Index) begin(ctx context.Context) error {
	x.mu.Lock()
	began := x.began
	x.mu.Unlock()
	if began {
		return nil
	}
	// Another replica's clock may be behind this one: what it enters belongs to the feed too.
	value, err := json.Marshal(x.timing.bucket(x.clock.Now().Add(-window)))
	if err != nil {
		return fmt.Errorf("encoding the first bucket: %w", err)
	}
	records, err := x.store.Get(ctx, firstKey)
	if err != nil {
		return fmt.Errorf("reading the first bucket: %w", err)
	}
	if _, ok := records[firstKey]; !ok {
		if putErr := x.store.Put(ctx, firstKey, value, ""); putErr != nil {
			if records, err = x.store.Get(ctx, firstKey); err != nil || len(records) == 0 {
				return fmt.Errorf("noting the first bucket: %w: %w", document.ErrUnknown, putErr)
			}
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.began = true
	return nil
}

func entryKey(b Bucket, slot, n int) string {
	return "feed/" + strconv.FormatInt(int64(b), 10) + "/" + strconv.Itoa(slot) + "/" + strconv.Itoa(n)
}
