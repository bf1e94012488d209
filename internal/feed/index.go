// Package feed makes events reliable over a broker that may lose them.
//
// A publish that Dapr confirms can still be lost. So the broker is only the fast way, and the documents are complete.
// Before a document with a new event is written, its key is entered in an index of the current time bucket. After the
// write the event is published. The broker pushes events to consumers. Consumers also pull, at longer intervals, the
// events in the producers' documents, and handle those that they have not seen. An event may come both ways, because
// handlers are idempotent.
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
	// slots distribute the index writers of several replicas over separate sequences of entries, so that they rarely
	// collide. Readers read all slots.
	slots = 4
	// entryKeys bounds the keys in one index entry document.
	entryKeys = 256
	// firstKey holds the bucket in which the feed began.
	firstKey = "feed/first"
)

// Timing says how the feed divides time, and when it takes a bucket as final.
type Timing struct {
	// Bucket is the length of one index bucket; at least 1 s.
	Bucket time.Duration
	// Settle is the age at which a bucket is final: every write whose index entry is in it has by then been stored or
	// has failed. It includes the time from the entry until the last attempt of its write is sent (8 s, the deadline of
	// an update), the longest delay of a write in a store (20 s), and 15 s for a reader's clock that is ahead of a
	// writer's or a sidecar that pauses with a write.
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

// Index enters keys into the buckets. It implements document.Index.
//
// An entry is a document feed/<bucket>/<slot>/<n> that is created once and never changes. n counts from 0 without gaps.
// So a writer needs no read, and a reader stops at the first n that is missing.
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

// NewIndex makes the Index of one process. writer is an id of the process.
func NewIndex(store document.Store, clk clock.Clock, timing Timing, writer string) *Index {
	h := fnv.New32a()
	h.Write([]byte(writer))
	x := &Index{store: store, clock: clk, timing: timing, slot: int(h.Sum32() % slots), entered: make(map[string]bool)}
	x.writes = batch.New(batch.Options{Size: entryKeys, Lanes: 1, Timeout: 8 * time.Second}, nil, x.enter)
	return x
}

// Append enters a key in the current bucket. It costs nothing if this process has entered the key in that bucket
// before.
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

// enter writes one index entry for the keys that wait. Only one enter runs at a time, so it alone uses bucket and next.
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

// create makes one entry document. It reports false when another replica's entry has that number. It returns only when
// the number is taken, because readers would not see entries after a gap.
func (x *Index) create(ctx context.Context, key string, value []byte) (bool, error) {
	for attempt := 0; ; attempt++ {
		putErr := x.store.Put(ctx, key, value, "")
		if putErr == nil {
			return true, nil
		}
		records, err := x.store.Get(ctx, key)
		if err == nil {
			if r, ok := records[key]; ok {
				// The same keys from another replica are as good as ours.
				return string(r.Value) == string(value), nil
			}
		}
		if x.clock.Sleep(ctx, min(2*time.Millisecond<<min(attempt, 7), 250*time.Millisecond)) != nil {
			return false, fmt.Errorf("entering %s: %w: %w", key, document.ErrUnknown, putErr)
		}
	}
}

// begin stores, once, the bucket in which the feed begins.
func (x *Index) begin(ctx context.Context) error {
	x.mu.Lock()
	began := x.began
	x.mu.Unlock()
	if began {
		return nil
	}
	// The clock of another replica may be behind this one. The feed must include its entries too.
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
