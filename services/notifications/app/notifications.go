// Package app holds the use cases of notifications, one file each. It touches the outside only through the document
// store, the clock and the ids that it is given, so that tests and the simulation run it as it is.
package app

import (
	"context"
	"log/slog"
	"sync"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/id"
	"caravan/services/notifications/domain"
)

// Prefixes of the keys of all documents.
const (
	inboxPrefix      = "inbox/"
	guardPrefix      = "archived/"
	deadLetterPrefix = "dead-letter/"
	usersPrefix      = "inboxes/"
	lettersPrefix    = "dead-letters/"
	batchPrefix      = "batch/"
	batchesPrefix    = "batches/"
	activePrefix     = "active-batches/"
)

// Outcomes of events, for the Counter.
const (
	OutcomeNotified = "notified" // the event is in the inbox of its user, now or since before
	OutcomeSilent   = "silent"   // the event is known and told to nobody
	OutcomeUnknown  = "unknown"  // the event is of a type that this version does not know
	OutcomeDead     = "dead"     // the event went to the dead letters; what is done about those counts as letter_<kind>
)

// Counter counts what became of events, by the outcomes above.
type Counter interface {
	Count(ctx context.Context, outcome string, e event.Event)
}

// Ports are what Notifications needs of the outside.
type Ports struct {
	Store   document.Store
	Clock   clock.Clock
	IDs     id.Source
	Counter Counter
	Log     *slog.Logger
}

// Notifications holds the use cases.
type Notifications struct {
	Ports
	inboxes  *document.Repository[domain.Inbox, *domain.Inbox]
	guards   *document.Repository[domain.Guard, *domain.Guard]
	letters  *document.Repository[domain.DeadLetter, *domain.DeadLetter]
	users    *registry
	batches  *document.Repository[domain.Batch, *domain.Batch]
	active   *document.Repository[domain.ActiveBatches, *domain.ActiveBatches]
	lettered *registry
	batched  *registry
	failures *failures

	mu      sync.Mutex
	sealing map[string]bool // inboxes that this process is sealing
}

// New makes Notifications over its ports.
func New(p Ports) *Notifications {
	opts := func(prefix string) document.Options {
		return document.Options{Prefix: prefix, Clock: p.Clock, IDs: p.IDs}
	}
	return &Notifications{
		Ports:    p,
		inboxes:  document.NewRepository[domain.Inbox](p.Store, opts(inboxPrefix)),
		guards:   document.NewRepository[domain.Guard](p.Store, opts(guardPrefix)),
		letters:  document.NewRepository[domain.DeadLetter](p.Store, opts(deadLetterPrefix)),
		users:    newRegistry(p, usersPrefix),
		batches:  document.NewRepository[domain.Batch](p.Store, opts(batchPrefix)),
		active:   document.NewRepository[domain.ActiveBatches](p.Store, opts(activePrefix)),
		lettered: newRegistry(p, lettersPrefix),
		batched:  newRegistry(p, batchesPrefix),
		failures: newFailures(),
		sealing:  make(map[string]bool),
	}
}
