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

// Prefixes of the keys of all documents. Dead letters have their own, see package deadletter.
const (
	inboxPrefix = "inbox/"
	guardPrefix = "archived/"
	usersPrefix = "inboxes/"
)

// Outcomes of events, for the Counter.
const (
	OutcomeNotified = "notified" // the event is in the inbox of its user, now or since before
	OutcomeSilent   = "silent"   // the event is of a known type without a notification
	OutcomeUnknown  = "unknown"  // the event is of a type that this version does not know
)

// Counter counts events by the outcomes above. Those of dead letters are in package deadletter.
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
	inboxes *document.Repository[domain.Inbox, *domain.Inbox]
	guards  *document.Repository[domain.Guard, *domain.Guard]
	users   *registry

	mu      sync.Mutex
	sealing map[string]bool // inboxes that this process is sealing
}

// New makes Notifications over its ports.
func New(p Ports) *Notifications {
	opts := func(prefix string) document.Options {
		return document.Options{Prefix: prefix, Clock: p.Clock, IDs: p.IDs}
	}
	return &Notifications{
		Ports:   p,
		inboxes: document.NewRepository[domain.Inbox](p.Store, opts(inboxPrefix)),
		guards:  document.NewRepository[domain.Guard](p.Store, opts(guardPrefix)),
		users:   newRegistry(p),
		sealing: make(map[string]bool),
	}
}
