// Package audit checks the inboxes, the dead letters and the messages outside the app of notifications, and reports to orders which
// events are where.
package audit

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/audit"
	"caravan/internal/deadletter"
	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/page"
	"caravan/services/notifications/app"
	"caravan/services/notifications/contract"
	"caravan/services/notifications/domain"
)

const (
	// maxDeliveries is about how many deliveries one page reports, some 100 bytes each.
	maxDeliveries = 2000
	// maxInboxes is how many inboxes one page reads.
	maxInboxes = 200
)

// invariants are all that a page checks.
var invariants = []string{
	contract.InvariantOneEntry, contract.InvariantDelivery, contract.InvariantSegments, contract.InvariantEntry, contract.InvariantLetter,
}

// position is the content of a cursor: the place in the registry and within one inbox, or, after the last inbox, among the
// dead letters.
type position struct {
	// Registry is where the registry goes on after User; Last says that nothing follows.
	Registry string `json:"r,omitempty"`
	Last     bool   `json:"l,omitempty"`
	// User and Entry name the inbox that is being checked, "" between two.
	User  string `json:"u,omitempty"`
	Entry string `json:"e,omitempty"`
	// Segment is the next archive segment of that inbox. The archive is read before the head, so that entries which are
	// archived meanwhile are not missed.
	Segment int `json:"s,omitempty"`
	// Inboxes says that all inboxes are done. Letters is then the cursor of the dead letters.
	Inboxes bool   `json:"i,omitempty"`
	Letters string `json:"d,omitempty"`
	// Feed is the place in the feed of the messages, after all dead letters.
	Feed string `json:"f,omitempty"`
}

// Audit checks inboxes, dead letters and messages.
type Audit struct {
	inboxes  *app.Inboxes
	letters  *deadletter.Queue
	messages *Messages
}

// New makes an Audit. messages is nil if there is no channel outside the app.
func New(inboxes *app.Inboxes, letters *deadletter.Queue, messages *Messages) *Audit {
	return &Audit{inboxes, letters, messages}
}

// Page checks all inboxes, dead letters and messages, a page at a time: each stored event has exactly one entry, and each archived
// entry is in its guard. As the guard names the one segment of the entry, a second copy of the entry is found wherever it is.
func (u *Audit) Page(ctx context.Context, asked audit.Request) (contract.AuditPage, error) {
	var at position
	if err := page.Decode(asked.Cursor, &at); err != nil {
		return contract.AuditPage{}, err
	}
	a := &pageUnderWay{AuditPage: contract.AuditPage{Page: audit.NewPage(invariants...), Deliveries: []contract.Delivery{}}, store: u.inboxes, letters: u.letters, messages: u.messages}
	if u.messages != nil {
		a.Add(audit.NewPage(messageInvariants...).Results)
	}
	if asked.Cursor == "" {
		if err := a.cursors(ctx); err != nil {
			return contract.AuditPage{}, err
		}
	}
	var err error
	switch {
	case at.Feed != "":
		err = a.threads(ctx, &at)
	case at.Inboxes:
		err = a.deadLetters(ctx, &at)
	default:
		err = a.inboxes(ctx, &at)
	}
	return a.AuditPage, err
}

// pageUnderWay is a page while it is filled.
type pageUnderWay struct {
	contract.AuditPage
	store    *app.Inboxes
	letters  *deadletter.Queue
	messages *Messages
	ahead    ahead
}

// ahead has the next entries of the registry and their inboxes, which were read together.
type ahead struct {
	entries []app.Registered
	next    string // the place in the registry behind them
	inboxes map[string]*domain.Inbox
	// archived says where the archive has entries of their heads. It was read after the inboxes.
	archived map[string]domain.Archived
}

// cursors reads how far the feeds were pulled.
func (a *pageUnderWay) cursors(ctx context.Context) error {
	a.Cursors = make(map[string]string)
	for _, producer := range contract.Producers() {
		settled, err := feed.StoredCursor(ctx, a.store.Store, producer)
		if err != nil {
			return fmt.Errorf("auditing: %w", err)
		}
		if settled != "" {
			a.Cursors[producer] = settled
		}
	}
	return nil
}

// inboxes checks inboxes as far as a page goes.
func (a *pageUnderWay) inboxes(ctx context.Context, at *position) error {
	for visited := 0; visited < maxInboxes && len(a.Deliveries) < maxDeliveries; visited++ {
		if at.User == "" {
			more, err := a.next(ctx, at)
			if err != nil {
				return err
			}
			if !more {
				*at = position{Inboxes: true}
				break
			}
		}
		if err := a.inbox(ctx, at); err != nil {
			return fmt.Errorf("auditing an inbox: %w", err)
		}
	}
	a.Next = page.Encode(at)
	return nil
}

// deadLetters checks a page of the dead letters.
func (a *pageUnderWay) deadLetters(ctx context.Context, at *position) error {
	var err error
	if at.Letters, err = a.letters.Audit(ctx, at.Letters, &a.Page); err != nil {
		return err
	}
	if at.Letters == "" && a.messages != nil {
		at.Feed = feed.Cursor{}.String()
	}
	if at.Letters != "" || at.Feed != "" {
		a.Next = page.Encode(at)
	}
	return nil
}

// next moves on to the next entry of the registry.
func (a *pageUnderWay) next(ctx context.Context, at *position) (bool, error) {
	if at.Last {
		return false, nil
	}
	if len(a.ahead.entries) == 0 {
		if err := a.readAhead(ctx, at.Registry); err != nil || len(a.ahead.entries) == 0 {
			return false, err
		}
	}
	entry := a.ahead.entries[0]
	a.ahead.entries = a.ahead.entries[1:]
	next, err := document.CursorBefore(a.ahead.next, len(a.ahead.entries))
	if err != nil {
		return false, fmt.Errorf("auditing: %w", err)
	}
	*at = position{Registry: next, Last: next == "", User: entry.UserID, Entry: entry.Entry}
	return true, nil
}

// readAhead reads the next entries of the registry with their inboxes.
func (a *pageUnderWay) readAhead(ctx context.Context, from string) (err error) {
	if a.ahead.entries, a.ahead.next, err = a.store.Registered(ctx, from, inboxesPerRead); err != nil {
		return fmt.Errorf("auditing: %w", err)
	}
	var users []string
	for _, entry := range a.ahead.entries {
		users = append(users, entry.UserID)
	}
	if a.ahead.inboxes, err = a.store.GetMany(ctx, users...); err != nil {
		return err
	}
	heads := make(map[string][]string, len(a.ahead.inboxes))
	for _, inbox := range a.ahead.inboxes {
		heads[inbox.UserID] = idsOf(inbox, inbox.Entries)
	}
	a.ahead.archived, err = a.store.ArchivedOf(ctx, heads)
	return err
}

// idsOf returns the ids of the notifications of some entries.
func idsOf(inbox *domain.Inbox, entries []domain.Entry) []string {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.NotificationID(inbox.UserID)
	}
	return ids
}

// inbox checks one inbox from a position on, as far as a page goes. At the end of the inbox it clears at.User.
func (a *pageUnderWay) inbox(ctx context.Context, at *position) error {
	inboxes := a.ahead.inboxes
	if inboxes == nil { // the page begins within an inbox
		var err error
		if inboxes, err = a.store.GetMany(ctx, at.User); err != nil {
			return err
		}
	}
	inbox := inboxes[at.User]
	if inbox == nil || inbox.Entry != at.Entry {
		at.User = "" // the inbox was never created, or by another attempt with an entry of its own
		return nil
	}
	for ; at.Segment < inbox.Segments; at.Segment++ {
		if len(a.Deliveries) >= maxDeliveries {
			return nil
		}
		if err := a.segment(ctx, inbox, at.Segment); err != nil {
			return err
		}
	}
	if err := a.head(ctx, inbox); err != nil {
		return err
	}
	at.User = ""
	return nil
}

func (a *pageUnderWay) segment(ctx context.Context, inbox *domain.Inbox, number int) error {
	entries, err := a.store.Segment(ctx, inbox, number)
	var broken *app.SegmentError
	if errors.As(err, &broken) {
		a.Check(false, contract.InvariantSegments, broken.Key, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	guarded, err := a.store.Archived(ctx, inbox.UserID, idsOf(inbox, entries))
	if err != nil {
		return err
	}
	a.entries(inbox, entries)
	a.Counts["archived"] += int64(len(entries))
	for _, e := range entries {
		key := e.NotificationID(inbox.UserID)
		known, ok := guarded[key]
		a.Check(ok, contract.InvariantDelivery, key, "the entry of %s in segment %d has no guard", e.EventID, number)
		a.Check(!ok || known.Segment == number, contract.InvariantOneEntry, key,
			"%s is in segment %d although it was archived in %d", e.EventID, number, known.Segment)
		a.Check(!e.OccurredAt.After(inbox.ArchivedUntil), contract.InvariantDelivery, key,
			"%s is archived and later than all that is archived", e.EventID)
	}
	return nil
}

func (a *pageUnderWay) head(ctx context.Context, inbox *domain.Inbox) error {
	a.Counts["users"]++
	there := inbox.ArchivedEntries() + len(inbox.Entries)
	a.Check(inbox.Total == there, contract.InvariantSegments, a.store.Key(inbox.UserID),
		"%d events were taken and %d entries are there", inbox.Total, there)
	guarded := a.ahead.archived
	if guarded == nil {
		var err error
		if guarded, err = a.store.Archived(ctx, inbox.UserID, idsOf(inbox, inbox.Entries)); err != nil {
			return err
		}
	}
	a.entries(inbox, inbox.Entries)
	for _, e := range inbox.Entries {
		// An entry in the head has a guard already while it is being archived.
		id := e.NotificationID(inbox.UserID)
		known, ok := guarded[id]
		a.Check(!ok || known.Segment >= inbox.Segments, contract.InvariantOneEntry, id,
			"%s is in the head although it was archived in segment %d", e.EventID, known.Segment)
	}
	return nil
}

// entries reports entries of one part of an inbox and checks them.
func (a *pageUnderWay) entries(inbox *domain.Inbox, entries []domain.Entry) {
	once := make(map[string]bool, len(entries))
	for _, e := range entries {
		id := e.NotificationID(inbox.UserID)
		a.Deliveries = append(a.Deliveries, contract.Delivery{EventID: e.EventID, UserID: inbox.UserID, OccurredAt: e.OccurredAt})
		a.Counts["deliveries"]++
		if !a.Check(!once[e.EventID], contract.InvariantOneEntry, id, "%s has two entries", e.EventID) {
			continue
		}
		once[e.EventID] = true
		a.Check(domain.Notifiable(e.Type) && !e.OccurredAt.IsZero() && !e.CreatedAt.IsZero(), contract.InvariantEntry, id,
			"an entry of type %.60q is not one that users get", e.Type)
	}
}
