package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"caravan/internal/event"
	"caravan/services/notifications/domain"
)

const (
	// deliverSteps bounds how often one delivery starts over: it may have to register the inbox, to look into the
	// archive and to seal the head, and other replicas may do the same meanwhile.
	deliverSteps = 8
	// deliverBatch is the largest number of notices in one write of an inbox.
	deliverBatch = 100
)

// Deliver tells the user of an event, once however often it is called for it; it is an event.Handler. An event that
// nobody is told of is done with. The error for an event that can never be handled wraps domain.ErrPayload.
func (n *Notifications) Deliver(ctx context.Context, e event.Event) error {
	notice, told, err := n.read(ctx, e)
	if err != nil || !told {
		return err
	}
	if err := n.deliver(ctx, []domain.Notice{notice}); err != nil {
		return fmt.Errorf("notifying of %s: %w", e.ID, err)
	}
	n.Counter.Count(ctx, OutcomeNotified, e)
	return nil
}

// read understands an event. It reports false for one that nobody is told of, and counts it. It needs no store.
func (n *Notifications) read(ctx context.Context, e event.Event) (notice domain.Notice, told bool, err error) {
	notice, err = domain.Read(e)
	switch {
	case errors.Is(err, domain.ErrSilent):
		n.Counter.Count(ctx, OutcomeSilent, e)
		return notice, false, nil
	case errors.Is(err, domain.ErrUnknownType):
		n.Counter.Count(ctx, OutcomeUnknown, e)
		return notice, false, nil
	case err != nil:
		return notice, false, event.Drop(err)
	}
	return notice, true, nil
}

// Check returns why Deliver can never handle an event, and nil for one that it can.
func Check(e event.Event) error {
	_, err := domain.Read(e)
	if errors.Is(err, domain.ErrSilent) || errors.Is(err, domain.ErrUnknownType) {
		return nil
	}
	return err
}

// deliver puts notices of one user, at most deliverBatch, into the inbox, all of them or none. It costs one read and
// one write of the inbox; for every domain.SegmentSize notices come one write to the archive, one more of the inbox and
// one of each minute's guard.
func (n *Notifications) deliver(ctx context.Context, notices []domain.Notice) error {
	userID := notices[0].UserID
	attempt := domain.Attempt{Now: n.Clock.Now()}
	for range deliverSteps {
		inbox, err := n.inboxes.Update(ctx, userID, func(i *domain.Inbox) error { return i.Deliver(notices, attempt) })
		var unchecked *domain.UncheckedError
		switch {
		case err == nil:
			n.tidy(ctx, inbox)
			return nil
		case errors.Is(err, domain.ErrUnregistered):
			attempt.Entry, err = n.users.announce(ctx, listed{ID: userID})
		case errors.As(err, &unchecked):
			attempt.Segments = unchecked.Segments
			notices, err = n.withoutArchived(ctx, notices, unchecked.Notices)
		case errors.Is(err, domain.ErrFull):
			err = n.seal(ctx, userID)
		}
		if err != nil {
			return err
		}
		if len(notices) == 0 {
			return nil
		}
	}
	return event.Retry(fmt.Errorf("the inbox did not come to rest in %d steps", deliverSteps))
}

// withoutArchived leaves out those notices of doubt that guards have. It must be asked after the length of the archive
// was read that its answer is used with.
func (n *Notifications) withoutArchived(ctx context.Context, notices, doubt []domain.Notice) ([]domain.Notice, error) {
	ids := make([]string, len(doubt))
	for i, d := range doubt {
		ids[i] = d.NotificationID()
	}
	archived, err := n.archived(ctx, doubt[0].UserID, ids)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(notices), func(notice domain.Notice) bool {
		_, known := archived[notice.NotificationID()]
		return known
	}), nil
}

// archived returns what the guards know of notifications of a user, by id.
func (n *Notifications) archived(ctx context.Context, userID string, notificationIDs []string) (map[string]domain.Archived, error) {
	var guardIDs []string
	for _, notification := range notificationIDs {
		guardIDs = append(guardIDs, domain.GuardID(userID, notification))
	}
	slices.Sort(guardIDs)
	guards, err := n.guards.GetMany(ctx, slices.Compact(guardIDs)...)
	if err != nil {
		return nil, fmt.Errorf("looking into the archive: %w", err)
	}
	found := make(map[string]domain.Archived)
	for _, notification := range notificationIDs {
		if guard := guards[domain.GuardID(userID, notification)]; guard != nil {
			if a, known := guard.Entries[notification]; known {
				found[notification] = a
			}
		}
	}
	return found, nil
}

// tidy seals the head when it is long. The notices are taken already, so a failure is not their concern: the next ones
// of the user try again.
func (n *Notifications) tidy(ctx context.Context, inbox *domain.Inbox) {
	if inbox.Sealable() == nil {
		return
	}
	if err := n.seal(ctx, inbox.UserID); err != nil {
		n.Log.WarnContext(ctx, "sealing an inbox failed; the next event of the user tries again", "error", err)
	}
}
