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

// InvariantIndexed is the name of the invariant that each event of a document can be found by the feed: the document's
// key was entered in the index around the time of the event.
const InvariantIndexed = "event-in-feed"

const (
	// coverageOrder makes the memory of a Coverage 4 MiB: with a million entries one in a million events that the feed
	// misses is taken for found.
	coverageOrder = 25
	// coverageStep is how many keys one Extend reads.
	coverageStep = 20_000
)

// Coverage answers for an audit whether the index leads to the events of documents. It reads the index once and keeps
// what it saw in a fixed amount of memory. It is safe for concurrent use.
type Coverage struct {
	reader *Reader

	mu   sync.Mutex // never held while reading
	at   Cursor
	seen *bloom.Filter
}

// NewCoverage makes a Coverage of the index that a Reader reads.
func NewCoverage(r *Reader) *Coverage { return &Coverage{reader: r} }

// Restart forgets what was read, so that the index is read as it is now.
func (c *Coverage) Restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.seen = Cursor{}, bloom.New(coverageOrder)
}

// Extend reads a further part of the index and reports whether it has come to where the index is not final yet.
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
	if c.at == from {
		c.at = keys.Next
	}
	if c.at == (Cursor{}) { // nothing was ever entered
		c.at.Bucket = c.reader.timing.bucket(c.reader.clock.Now().Add(-c.reader.timing.Settle))
	}
	return keys.End, nil
}

func entered(b Bucket, key string) string { return strconv.FormatInt(int64(b), 36) + " " + key }

// Check checks that the index leads to the events of the document under key. Events that are too young for the index to
// be final about them are left out.
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

// leadsTo reports whether key was entered in a bucket by which Reader.Events finds an event of that time.
func (c *Coverage) leadsTo(key string, at time.Time) bool {
	timing := c.reader.timing
	for b := timing.bucket(at.Add(-eventAfter)); b <= timing.bucket(at.Add(eventBefore)); b = timing.next(b) {
		if c.seen.Has(entered(b, key)) {
			return true
		}
	}
	return false
}
