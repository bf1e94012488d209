package app

import (
	"context"
	"errors"
	"slices"

	"caravan/internal/document"
	"caravan/services/notifications/domain"
)

// mark changes one notification, in the head of its inbox or, if it is archived, in its guard. Each of its steps may be done
// again, so a call that failed in between is completed by the next one.
func (s *Inboxes) mark(ctx context.Context, userID, notificationID string, inHead func(*domain.Inbox) error, inArchive func(*domain.Guard) error) error {
	_, err := s.inboxes.Update(ctx, userID, inHead)
	if !errors.Is(err, domain.ErrNotInHead) {
		return err
	}
	// An entry leaves the head only after its guard has it, so it is found in one of the two.
	inbox, segment, index, err := s.locate(ctx, userID, notificationID)
	if err != nil {
		return err
	}
	_, err = s.guards.Update(ctx, domain.GuardID(userID, notificationID), inArchive)
	if errors.Is(err, document.ErrNotFound) {
		_, err = s.guards.Update(ctx, domain.SpareGuardID(userID, notificationID), inArchive)
	}
	if err != nil {
		return err
	}
	if !inbox.Counts(segment) {
		return nil
	}
	_, err = s.inboxes.Update(ctx, userID, func(i *domain.Inbox) error { return i.Discount(segment, index) })
	return err
}

// locate finds an archived notification. It returns document.ErrNotFound if there is none, or if it was deleted while it was in the
// head.
func (s *Inboxes) locate(ctx context.Context, userID, notificationID string) (inbox *domain.Inbox, segment, index int, err error) {
	archived, err := s.Archived(ctx, userID, []string{notificationID})
	if err != nil {
		return nil, 0, 0, err
	}
	at, known := archived[notificationID]
	if !known {
		return nil, 0, 0, document.ErrNotFound
	}
	// The guard was read after the head, which did not have the entry, so the segment is there.
	if inbox, err = s.inboxes.Get(ctx, userID); err != nil {
		return nil, 0, 0, err
	}
	entries, err := s.Segment(ctx, inbox, at.Segment)
	if err != nil {
		return nil, 0, 0, err
	}
	index = slices.IndexFunc(entries, func(e domain.Entry) bool { return e.NotificationID(userID) == notificationID })
	if index < 0 || !entries[index].DeletedAt.IsZero() {
		return nil, 0, 0, document.ErrNotFound
	}
	return inbox, at.Segment, index, nil
}
