package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/event"
	"caravan/services/notifications/domain"
)

// deliverSteps bounds how often one delivery starts over: it may have to register the inbox, to look into the archive
// and to seal the head, and other replicas may do the same meanwhile.
const deliverSteps = 8

// Deliver tells the user of an event, once however often it is called for it; it is an event.Handler. An event that
// nobody is told of is done with. The error for an event that can never be handled wraps domain.ErrPayload.
//
// It costs one read and one write of the user's inbox, shared with other events of that user that are under way. For
// every domain.SegmentSize events of a user come one write each to the archive, and one bulk write of their delivery
// documents.
func (n *Notifications) Deliver(ctx context.Context, e event.Event) error {
	notice, err := domain.Read(e)
	switch {
	case errors.Is(err, domain.ErrSilent):
		n.Counter.Count(ctx, OutcomeSilent, e)
		return nil
	case errors.Is(err, domain.ErrUnknownType):
		n.Counter.Count(ctx, OutcomeUnknown, e)
		return nil
	case err != nil:
		return event.Drop(err)
	}
	if err := n.deliver(ctx, notice); err != nil {
		return fmt.Errorf("notifying of %s: %w", e.ID, err)
	}
	n.Counter.Count(ctx, OutcomeNotified, e)
	return nil
}

func (n *Notifications) deliver(ctx context.Context, notice domain.Notice) error {
	attempt := domain.Attempt{Now: n.Clock.Now()}
	var err error
	for range deliverSteps {
		var inbox *domain.Inbox
		inbox, err = n.inboxes.Update(ctx, notice.UserID, func(i *domain.Inbox) error { return i.Deliver(notice, attempt) })
		var unchecked *domain.UncheckedError
		switch {
		case err == nil:
			n.tidy(ctx, inbox)
			return nil
		case errors.Is(err, domain.ErrUnregistered):
			attempt.Entry, err = n.users.announce(ctx, notice.UserID)
		case errors.As(err, &unchecked):
			var archived bool
			if archived, err = n.archived(ctx, notice); archived {
				return nil
			}
			attempt.Segments = unchecked.Segments
		case errors.Is(err, domain.ErrFull):
			err = n.seal(ctx, notice.UserID)
		}
		if err != nil {
			return err
		}
	}
	return event.Retry(fmt.Errorf("the inbox did not come to rest in %d steps", deliverSteps))
}

// archived reports whether the notice has a delivery document. It must be asked after the length of the archive was
// read that the answer is used with.
func (n *Notifications) archived(ctx context.Context, notice domain.Notice) (bool, error) {
	notification := domain.NotificationID(notice.UserID, notice.EventID)
	found, err := n.deliveries.GetMany(ctx, notification)
	if err != nil {
		return false, fmt.Errorf("looking into the archive: %w", err)
	}
	return found[notification] != nil, nil
}

// tidy seals the head when it is long. The event is taken already, so a failure is not its concern: the next event of
// the user tries again.
func (n *Notifications) tidy(ctx context.Context, inbox *domain.Inbox) {
	if inbox.Sealable() == nil {
		return
	}
	if err := n.seal(ctx, inbox.UserID); err != nil {
		n.Log.WarnContext(ctx, "sealing an inbox failed; the next event of the user tries again", "error", err)
	}
}
