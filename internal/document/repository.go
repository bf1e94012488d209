package document

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/event"
	"caravan/internal/id"
)

// Index records that a document will get a new event, before the document is written. So a feed can find the event (see
// package feed).
type Index interface {
	Append(ctx context.Context, key string) error
}

// Relay publishes events after their document was written. The caller does not wait for it. It may lose events, and
// then the feed delivers them.
type Relay interface {
	Publish(events []event.Event)
}

// Options configure a Repository.
type Options struct {
	// Prefix starts every key, such as "order/".
	Prefix string
	// Source is the service name that the events carry.
	Source string
	// Subject comes before the id in the subject of the events. Two kinds of aggregates of one source need it if they
	// have the same ids. Otherwise their events would have the same ids too.
	Subject string
	// Aggregates that emit events need Index and Relay.
	Index Index
	Relay Relay
	Clock clock.Clock
	IDs   id.Source
	// KeepEvents is how many events an aggregate keeps at most; older ones are in segments. It is at least TimelineSegment.
	// Zero means 32. An aggregate that gets an event for each order of a person or a product keeps few: each write
	// contains them all.
	KeepEvents int
	// Timeout limits one write with all its read-backs. Zero means 8 s.
	Timeout time.Duration
}

// aggregate is what a document type T must be: a struct that embeds Root.
type aggregate[T any] interface {
	*T
	root() *Root
}

// Repository reads and writes aggregates of type T.
type Repository[T any, P aggregate[T]] struct {
	store Store
	opts  Options
	// warm reports whether another write of the document is expected soon. If so, the document is read again right
	// after a write. The next command then has its ETag at once and waits for no read.
	warm func(P) bool
	// early has the key entered in the index while the document is read.
	early bool

	mu     sync.Mutex
	queues map[string]*queue[P]
	ready  map[string]warmRecord
}

type warmRecord struct {
	record Record
	at     time.Time
}

// NewRepository makes a Repository of documents that embed Root.
func NewRepository[T any, P aggregate[T]](store Store, opts Options) *Repository[T, P] {
	if opts.Timeout == 0 {
		opts.Timeout = 8 * time.Second
	}
	if opts.KeepEvents == 0 {
		opts.KeepEvents = timelineMax
	}
	opts.KeepEvents = max(opts.KeepEvents, TimelineSegment)
	return &Repository[T, P]{
		store: store, opts: opts,
		queues: make(map[string]*queue[P]), ready: make(map[string]warmRecord),
	}
}

// Warm sets the rule by which a document is read ahead after a write, for its next write. It returns the repository.
// The cost is one read that no caller waits for.
func (r *Repository[T, P]) Warm(expectsWrite func(P) bool) *Repository[T, P] {
	r.warm = expectsWrite
	return r
}

// IndexEarly has the key of a document entered in the index while the document is read, which saves a trip to the store before
// the write. It returns the repository. It is for documents that have an event in nearly every write: otherwise there would be entries
// that lead to nothing new, and everybody who reads the feed would read these documents for nothing.
func (r *Repository[T, P]) IndexEarly() *Repository[T, P] {
	r.early = true
	return r
}

// Key is the store key of the aggregate with the given id.
func (r *Repository[T, P]) Key(id string) string { return r.opts.Prefix + id }

// Get reads one aggregate, or ErrNotFound.
func (r *Repository[T, P]) Get(ctx context.Context, id string) (P, error) {
	docs, err := r.GetMany(ctx, id)
	if err != nil {
		return nil, err
	}
	doc, ok := docs[id]
	if !ok {
		return nil, fmt.Errorf("%s: %w", r.Key(id), ErrNotFound)
	}
	return doc, nil
}

// GetMany reads several aggregates. The result leaves out those that do not exist, and ids that make no valid key.
func (r *Repository[T, P]) GetMany(ctx context.Context, ids ...string) (map[string]P, error) {
	keys := make([]string, 0, len(ids))
	for _, id := range ids {
		if key := r.Key(id); CheckKey(key) == nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	records, err := r.store.Get(ctx, keys...)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", keys[0], err)
	}
	docs := make(map[string]P, len(records))
	for _, key := range keys {
		record, ok := records[key]
		if !ok {
			continue
		}
		doc, err := decode[T, P](key, record)
		if err != nil {
			return nil, err
		}
		docs[key[len(r.opts.Prefix):]] = doc
	}
	return docs, nil
}

// Among returns the aggregate with the given id from records that one read of the store returned, for a reader who needs
// documents of several kinds at once. The keys are those of Key. It returns ErrNotFound if the records do not have it.
func (r *Repository[T, P]) Among(records map[string]Record, id string) (P, error) {
	record, ok := records[r.Key(id)]
	if !ok {
		return nil, fmt.Errorf("%s: %w", r.Key(id), ErrNotFound)
	}
	return decode[T, P](r.Key(id), record)
}

// decode makes an aggregate from a record. A record without a value makes a new one.
func decode[T any, P aggregate[T]](key string, record Record) (P, error) {
	doc := P(new(T))
	if len(record.Value) == 0 {
		return doc, nil
	}
	if err := json.Unmarshal(record.Value, doc); err != nil {
		return nil, fmt.Errorf("decoding document %s: %w", key, err)
	}
	return doc, nil
}

// Update changes one aggregate by compare-and-swap and returns it as stored.
//
// decide gets the current document (Revision 0 when there is none). It changes the document and returns nil, or returns
// ErrUnchanged to write nothing, or refuses with any other error, which Update returns. It must depend on the document
// only: it runs again when another writer was faster, and it runs together with other Updates of the same key that wait
// in this process and share one write. It must recognise an operation that was applied before.
//
// Update refuses an id that makes no valid key with ErrKey. The other Updates get the same returned document: do not
// change it.
func (r *Repository[T, P]) Update(ctx context.Context, id string, decide func(doc P) error) (P, error) {
	if err := CheckKey(r.Key(id)); err != nil {
		return nil, fmt.Errorf("updating: %w", err)
	}
	c := &command[P]{ctx: ctx, decide: decide, done: make(chan struct{})}
	r.enqueue(id, c)
	select {
	case <-c.done:
		return c.doc, c.err
	case <-ctx.Done():
		return nil, fmt.Errorf("updating %s: %w", r.Key(id), ctx.Err())
	}
}

// attribute completes the events that one command added. It gives them the present time if the command waited for long,
// or if the clock was set back since.
func (r *Repository[T, P]) attribute(ctx context.Context, id string, events []event.Event) {
	if len(events) == 0 {
		return
	}
	now := r.opts.Clock.Now().UTC()
	for i := range events {
		e := &events[i]
		if now.Sub(e.Time).Abs() > eventFresh {
			e.Time = now
		}
		e.Source, e.Subject = r.opts.Source, r.opts.Subject+id
		e.ID = event.ID(e.Source, e.Subject, e.Sequence)
		e.CorrelationID = correlation.ID(ctx)
		e.TraceParent = correlation.Traceparent(ctx)
	}
}
