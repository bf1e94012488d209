// Package app has the use cases of notifications, one file each. It reaches the outside only through the store, the clock and
// the ids that it is given, so that tests and the simulation run it unchanged.
package app

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
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
	// reachedPrefix is that of the users whom events for staff reach.
	reachedPrefix = "audience/"
)

// Outcomes of events, for the Counter.
const (
	OutcomeNotified = "notified" // the event is in the inbox of its user, now or already before
	OutcomeSilent   = "silent"   // the event is of a known type without a notification
	OutcomeUnknown  = "unknown"  // the event is of a type that this version does not know
)

// Counter counts events by the outcomes above. Those of dead letters are in package deadletter.
type Counter interface {
	Count(ctx context.Context, outcome string, e event.Event)
}

// Ports are what Inboxes needs from outside.
type Ports struct {
	Store document.Store
	Clock clock.Clock
	IDs   id.Source
	Log   *slog.Logger
}

// Inboxes stores the inboxes of all users. An inbox is a document with the newest entries, the head. Older entries are in
// archive segments, and guards have their ids.
type Inboxes struct {
	Ports
	inboxes *document.Repository[domain.Inbox, *domain.Inbox]
	reached *document.Repository[domain.Reached, *domain.Reached]
	guards  *document.Repository[domain.Guard, *domain.Guard]
	users   *registry

	mu      sync.Mutex
	sealing map[string]bool // inboxes that this process is sealing
}

// NewInboxes makes Inboxes.
func NewInboxes(p Ports) *Inboxes {
	opts := func(prefix string) document.Options {
		return document.Options{Prefix: prefix, Clock: p.Clock, IDs: p.IDs}
	}
	return &Inboxes{
		Ports:   p,
		inboxes: document.NewRepository[domain.Inbox](p.Store, opts(inboxPrefix)),
		reached: document.NewRepository[domain.Reached](p.Store, opts(reachedPrefix)),
		guards:  document.NewRepository[domain.Guard](p.Store, opts(guardPrefix)),
		users:   newRegistry(p),
		sealing: make(map[string]bool),
	}
}

// GetMany reads inboxes by user.
func (s *Inboxes) GetMany(ctx context.Context, userIDs ...string) (map[string]*domain.Inbox, error) {
	inboxes, err := s.inboxes.GetMany(ctx, userIDs...)
	if err != nil {
		return nil, fmt.Errorf("reading inboxes: %w", err)
	}
	return inboxes, nil
}

// Key is the key of a user's inbox in the store.
func (s *Inboxes) Key(userID string) string { return s.inboxes.Key(userID) }

// Archived returns where the archive has notifications of a user, by id. Those that it does not have are absent.
func (s *Inboxes) Archived(ctx context.Context, userID string, notificationIDs []string) (map[string]domain.Archived, error) {
	return s.ArchivedOf(ctx, map[string][]string{userID: notificationIDs})
}

// guardsAtOnce bounds the guards of one read.
const guardsAtOnce = 200

// ArchivedOf is Archived for several users at once: their notifications by user.
func (s *Inboxes) ArchivedOf(ctx context.Context, notifications map[string][]string) (map[string]domain.Archived, error) {
	found := make(map[string]domain.Archived)
	elsewhere, err := s.guarded(ctx, notifications, domain.GuardID, found)
	if err == nil && len(elsewhere) > 0 {
		_, err = s.guarded(ctx, elsewhere, domain.SpareGuardID, found)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the archive: %w", err)
	}
	return found, nil
}

// guarded looks notifications up in the guards with the ids that guardID gives, and adds to found what these have. It returns those
// that may be elsewhere, because their guards are full.
func (s *Inboxes) guarded(ctx context.Context, notifications map[string][]string, guardID func(userID, notificationID string) string,
	found map[string]domain.Archived) (elsewhere map[string][]string, err error) {
	var guardIDs []string
	for userID, ids := range notifications {
		for _, notification := range ids {
			guardIDs = append(guardIDs, guardID(userID, notification))
		}
	}
	slices.Sort(guardIDs)
	guards := make(map[string]*domain.Guard)
	for part := range slices.Chunk(slices.Compact(guardIDs), guardsAtOnce) {
		read, err := s.guards.GetMany(ctx, part...)
		if err != nil {
			return nil, err
		}
		maps.Copy(guards, read)
	}
	elsewhere = make(map[string][]string)
	for userID, ids := range notifications {
		for _, notification := range ids {
			guard := guards[guardID(userID, notification)]
			if a, known := guard.Entry(notification); known {
				found[notification] = a
			} else if guard.Full() {
				elsewhere[userID] = append(elsewhere[userID], notification)
			}
		}
	}
	return elsewhere, nil
}

// Segment reads one archive segment of an inbox. The inbox must have been read at or after the segment was sealed.
func (s *Inboxes) Segment(ctx context.Context, inbox *domain.Inbox, number int) ([]domain.Entry, error) {
	var entries []domain.Entry
	key := domain.SegmentKey(s.inboxes.Key(inbox.UserID), number)
	found, err := document.ReadArchive(ctx, s.Store, &inbox.Root, key, &entries)
	if err != nil {
		return nil, err
	}
	if !found || len(entries) != domain.SegmentSize {
		return nil, &SegmentError{key}
	}
	return entries, nil
}

// SegmentError is returned for an archive segment that is not as it was sealed. It is a fault of the program or of the store, and
// does not go away by itself.
type SegmentError struct{ Key string }

// Error implements error.
func (e *SegmentError) Error() string {
	return "archive segment " + e.Key + " is missing or incomplete"
}
