// Package deadletter keeps the messages that a consumer of events could not handle, and lets staff replay or discard them.
//
// Messages come from two sources. The sidecar delivers messages that the broker's consumer refused or did not handle
// within its attempts (Receive). Events that were pulled from a feed, or acknowledged before they were handled, have no
// broker that could do this, so their consumer passes them itself (DeadLetter).
//
// A consumer gets its Queue from service.Consume; package deadletter/api has the routes for staff.
package deadletter

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/id"
	"caravan/internal/recent"
)

// Prefixes of the keys of all documents.
const (
	letterPrefix     = "dead-letter/"
	entryPrefix      = "dead-letters/"
	batchPrefix      = "batch/"
	batchEntryPrefix = "batches/"
	activePrefix     = "active-batches/"
)

const (
	// everything is the owner of the one list of letters and of the one list of batches.
	everything = "all"
	// entriesPerSegment is the number of entries in one segment of a list.
	entriesPerSegment = 50
	// failuresMax is about how many events with failed deliveries the Queue remembers.
	failuresMax = 4096
)

// Outcomes for Options.Count.
const (
	// OutcomeDead: the message became a dead letter.
	OutcomeDead = "dead"
	// outcomeAction is the prefix before the kind of an action on a letter.
	outcomeAction = "letter_"
)

// Options configure a Queue.
type Options struct {
	// Consumer is the app whose dead letters these are.
	Consumer string
	// Handle handles an event; a replay calls it. Check, which may be nil, returns why Handle can never handle a
	// well-formed event, or nil if Handle can.
	Handle event.Handler
	Check  func(e event.Event) error
	Store  document.Store
	Clock  clock.Clock
	IDs    id.Source
	Log    *slog.Logger
	// Count, which may be nil, counts OutcomeDead and, as letter_<kind>, each Action on a letter.
	Count func(ctx context.Context, outcome string, e event.Event)
}

// Queue is the dead-letter queue of one consumer. It is safe for concurrent use, by any number of replicas.
type Queue struct {
	Options
	letters      *document.Repository[Letter, *Letter]
	batches      *document.Repository[Batch, *Batch]
	active       *document.Repository[ActiveBatches, *ActiveBatches]
	entries      *document.Chain[listed]
	batchEntries *document.Chain[listed]
	failures     *recent.Map[failure]
}

// failure is what is known about the failed deliveries of one event.
type failure struct {
	attempts int
	last     string
}

// New makes a Queue.
func New(o Options) *Queue {
	if o.Count == nil {
		o.Count = func(context.Context, string, event.Event) {}
	}
	options := func(prefix string) document.Options {
		return document.Options{Prefix: prefix, Clock: o.Clock, IDs: o.IDs}
	}
	return &Queue{
		Options:      o,
		letters:      document.NewRepository[Letter](o.Store, options(letterPrefix)),
		batches:      document.NewRepository[Batch](o.Store, options(batchPrefix)),
		active:       document.NewRepository[ActiveBatches](o.Store, options(activePrefix)),
		entries:      document.NewChain[listed](o.Store, entryPrefix, entriesPerSegment, options("")),
		batchEntries: document.NewChain[listed](o.Store, batchEntryPrefix, entriesPerSegment, options("")),
		failures:     recent.New[failure](failuresMax),
	}
}

// listed is one entry of the list of letters or of batches, which exists because a store cannot be scanned. Each
// attempt to create a document writes an entry first, so an entry is valid only if the document names it. Thus the list
// has each document once.
type listed struct {
	// ID is the id of the document. Entry is the id of the entry.
	ID    string `json:"id"`
	Entry string `json:"entry"`
	// Topic, Type and At repeat attributes of a letter and the time of the entry, so that a search need not read each letter.
	Topic string    `json:"topic,omitempty"`
	Type  string    `json:"type,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

func (l listed) id() string { return l.ID }

// announce adds an entry to a list before its document is created. It returns the id of the entry.
func (q *Queue) announce(ctx context.Context, list *document.Chain[listed], l listed) (string, error) {
	l.Entry = q.IDs.New()
	if err := list.Prepend(ctx, everything, l.Entry, l); err != nil {
		return "", fmt.Errorf("registering %s: %w", l.ID, err)
	}
	return l.Entry, nil
}
