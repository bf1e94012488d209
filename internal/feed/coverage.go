package feed

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"caravan/internal/audit"
	"caravan/internal/bloom"
	"caravan/internal/event"
)

// InvariantIndexed is the name of an invariant: the feed can find each event of a document, because the index has the
// document's key around the time of the event.
const InvariantIndexed = "event-in-feed"

const (
	// coverageOrder makes the memory of a Coverage 4 MiB. With a million entries, it accepts one in a million events
	// that the feed misses as found.
	coverageOrder = 25
	// coverageStep is how many keys one Extend reads.
	coverageStep = 20_000
)

// Coverage tells an audit whether the index leads to the events of documents. It reads the index once and keeps a
// summary of fixed size in memory. It is safe for concurrent use.
type Coverage struct {
	reader *Reader

	mu   sync.Mutex // not held during a read
	at   Cursor
	seen *bloom.Filter
}

// NewCoverage makes a Coverage of the index that a Reader reads.
func NewCoverage(r *Reader) *Coverage { return &Coverage{reader: r} }

// Restart discards what was read. The index is then read again.
func (c *Coverage) Restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.seen = Cursor{}, bloom.New(coverageOrder)
}

// Extend reads a further part of the index. It reports whether it has reached the part that is not final yet.
func (c *Coverage) Extend(ctx context.Context) (complete bool, err error) {
	c.mu.Lock()
	from, seen := c.at, c.seen
	c.mu.Unlock()
	if seen == nil {
		c.Restart()
	}
	keys, err := c.reader.Keys(ctx, from, coverageStep, c.reader.timing.Settle)
	if err != nil {
		return false, fmt.Errorf("reading the index: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range keys.Buckets {
		for _, key := range b.Keys {
			c.seen.Add(entered(b.Bucket, key))
		}
	}
	if c.at == from { // otherwise another audit has read on, or begun again
		c.at = keys.Next
		if c.at == (Cursor{}) { // the index is empty
			c.at.Bucket = c.reader.timing.bucket(c.reader.clock.Now().Add(-c.reader.timing.Settle))
		}
	}
	return keys.End, nil
}

func entered(b Bucket, key string) string { return strconv.FormatInt(int64(b), 36) + " " + key }

// Check checks that the index leads to the events of the document under key. It leaves out events that are so young
// that their part of the index is not final.
func (c *Coverage) Check(into *audit.Results, key string, events []event.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	timing := c.reader.timing
	for _, e := range events {
		if last := timing.bucket(e.Time.Add(eventBefore)); c.seen == nil || last >= c.at.Bucket {
			continue
		}
		into.Check(c.leadsTo(key, e.Time), InvariantIndexed, e.ID, "the feed has no entry of %s around %s", key, e.Time.Format(time.RFC3339))
	}
}

// leadsTo reports whether key is in a bucket through which a page finds an event of that time.
func (c *Coverage) leadsTo(key string, at time.Time) bool {
	timing := c.reader.timing
	for b := timing.bucket(at.Add(-eventAfter)); b <= timing.bucket(at.Add(eventBefore)); b = timing.next(b) {
		if c.seen.Has(entered(b, key)) {
			return true
		}
	}
	return false
}
