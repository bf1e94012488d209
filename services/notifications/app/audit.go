package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/page"
	"caravan/services/notifications/contract"
	"caravan/services/notifications/domain"
)

const (
	// auditDeliveries is about how many deliveries one page reports, some 100 bytes each.
	auditDeliveries = 2000
	// auditInboxes is how many inboxes one page visits.
	auditInboxes = 200
)

// auditPosition is the content of a cursor: where the walk stands in the registry and within one inbox.
type auditPosition struct {
	// Registry is where the registry goes on after User; Last says that nothing follows.
	Registry string `json:"r,omitempty"`
	Last     bool   `json:"l,omitempty"`
	// User and Entry name the inbox that is under way, "" between two.
	User  string `json:"u,omitempty"`
	Entry string `json:"e,omitempty"`
	// Segment is the next archive segment of that inbox. The archive comes before the head: what is sealed meanwhile
	// is then met as a segment and not missed.
	Segment int `json:"s,omitempty"`
}

// Audit checks all inboxes, a page at a time: each event that was taken has exactly one entry, and each archived entry
// is in its guard. Because the guard names the one segment that the entry is in, an entry that is there twice shows
// wherever the copies are.
func (n *Notifications) Audit(ctx context.Context, command contract.Audit) (contract.AuditPage, error) {
	var at auditPosition
	if err := page.Decode(command.Cursor, &at); err != nil {
		return contract.AuditPage{}, err
	}
	a := &audit{n: n, page: contract.AuditPage{
		Findings: []contract.Finding{}, Counts: make(map[string]int64), Deliveries: []contract.Delivery{},
	}}
	for visited := 0; visited < auditInboxes && len(a.page.Deliveries) < auditDeliveries; visited++ {
		if at.User == "" {
			if at.Last {
				return a.page, nil
			}
			more, err := a.next(ctx, &at)
			if err != nil {
				return contract.AuditPage{}, err
			}
			if !more {
				return a.page, nil
			}
		}
		if err := a.inbox(ctx, &at); err != nil {
			return contract.AuditPage{}, fmt.Errorf("auditing an inbox: %w", err)
		}
	}
	a.page.Next = page.Encode(at)
	return a.page, nil
}

// audit gathers one page.
type audit struct {
	n    *Notifications
	page contract.AuditPage
}

func (a *audit) find(invariant, key, format string, args ...any) {
	a.page.Findings = append(a.page.Findings, contract.Finding{Invariant: invariant, Key: key, Detail: fmt.Sprintf(format, args...)})
}

// next moves on to the next entry of the registry.
func (a *audit) next(ctx context.Context, at *auditPosition) (bool, error) {
	entries, next, err := a.n.users.page(ctx, at.Registry, 1)
	if err != nil {
		return false, fmt.Errorf("auditing: %w", err)
	}
	if len(entries) == 0 {
		return false, nil
	}
	*at = auditPosition{Registry: next, Last: next == "", User: entries[0].ID, Entry: entries[0].Entry}
	return true, nil
}

// inbox checks one inbox from a position on, as far as a page goes. At the end of the inbox it clears at.User.
func (a *audit) inbox(ctx context.Context, at *auditPosition) error {
	inboxes, err := a.n.inboxes.GetMany(ctx, at.User)
	if err != nil {
		return err
	}
	inbox := inboxes[at.User]
	if inbox == nil || inbox.Entry != at.Entry {
		at.User = "" // an entry of the registry whose inbox never came, or has another one
		return nil
	}
	for ; at.Segment < inbox.Segments; at.Segment++ {
		if len(a.page.Deliveries) >= auditDeliveries {
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

func (a *audit) segment(ctx context.Context, inbox *domain.Inbox, number int) error {
	entries, err := a.n.segment(ctx, inbox, number)
	var broken *segmentError
	if errors.As(err, &broken) {
		a.find(contract.InvariantSegments, broken.key, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	guarded, err := a.entries(ctx, inbox, entries)
	if err != nil {
		return err
	}
	a.page.Counts["archived"] += int64(len(entries))
	for _, e := range entries {
		key := e.NotificationID(inbox.UserID)
		switch known, ok := guarded[key]; {
		case !ok:
			a.find(contract.InvariantDelivery, key, "the entry of %s in segment %d has no guard", e.EventID, number)
		case known.Segment != number:
			a.find(contract.InvariantOneEntry, key, "%s is in segment %d although it was archived in %d", e.EventID, number, known.Segment)
		}
		if e.OccurredAt.After(inbox.ArchivedUntil) {
			a.find(contract.InvariantDelivery, key, "%s is archived and later than all that is archived", e.EventID)
		}
	}
	return nil
}

func (a *audit) head(ctx context.Context, inbox *domain.Inbox) error {
	a.page.Counts["users"]++
	key := a.n.inboxes.Key(inbox.UserID)
	if want := archivedEntries(inbox) + len(inbox.Entries); inbox.Total != want {
		a.find(contract.InvariantSegments, key, "%d events were taken and %d entries are there", inbox.Total, want)
	}
	guarded, err := a.entries(ctx, inbox, inbox.Entries)
	if err != nil {
		return err
	}
	for _, e := range inbox.Entries {
		// A guard for an entry in the head is left by a sealing that has not ended.
		id := e.NotificationID(inbox.UserID)
		if known, ok := guarded[id]; ok && known.Segment < inbox.Segments {
			a.find(contract.InvariantOneEntry, id, "%s is in the head although it was archived in segment %d", e.EventID, known.Segment)
		}
	}
	return nil
}

// entries reports entries of one stretch of an inbox, checks what can be told from them alone, and returns what their
// guards know.
func (a *audit) entries(ctx context.Context, inbox *domain.Inbox, entries []domain.Entry) (map[string]domain.Archived, error) {
	once := make(map[string]bool, len(entries))
	var ids []string
	for _, e := range entries {
		id := e.NotificationID(inbox.UserID)
		a.page.Deliveries = append(a.page.Deliveries, contract.Delivery{EventID: e.EventID, UserID: inbox.UserID})
		a.page.Counts["deliveries"]++
		if once[e.EventID] {
			a.find(contract.InvariantOneEntry, id, "%s has two entries", e.EventID)
			continue
		}
		once[e.EventID] = true
		ids = append(ids, id)
		if !domain.Notifiable(e.Type) || e.OccurredAt.IsZero() || e.CreatedAt.IsZero() {
			a.find(contract.InvariantEntry, id, "an entry of type %.60q is not one that users get", e.Type)
		}
	}
	return a.n.archived(ctx, inbox.UserID, ids)
}
