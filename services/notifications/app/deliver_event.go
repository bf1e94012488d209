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
	// deliverSteps bounds the steps of one delivery: it may have to register the inbox, to read the archive and to seal the
	// head, and other replicas may do the same meanwhile.
	deliverSteps = 8
	// deliverBatch is the largest number of notices in one write of an inbox.
	deliverBatch = 100
)

// DeliverEvent puts a notification of an event into the inbox of its user.
type DeliverEvent struct {
	*Inboxes
	Counter Counter
}

// Do delivers an event, once however often it is called for it; it is an event.Handler. It ignores an event without a
// notification. The error for an event that can never be handled wraps domain.ErrPayload or domain.ErrUnknownVersion.
func (d DeliverEvent) Do(ctx context.Context, e event.Event) error {
	notice, found, err := d.read(ctx, e)
	if err != nil || !found {
		return err
	}
	if err := d.deliver(ctx, []domain.Notice{notice}); err != nil {
		return fmt.Errorf("notifying of %s: %w", e.ID, err)
	}
	d.Counter.Count(ctx, OutcomeNotified, e)
	return nil
}

// read parses an event. It returns false for one without a notification, and counts it. It needs no store.
func (d DeliverEvent) read(ctx context.Context, e event.Event) (notice domain.Notice, found bool, err error) {
	notice, err = domain.Read(e)
	switch {
	case errors.Is(err, domain.ErrSilent):
		d.Counter.Count(ctx, OutcomeSilent, e)
		return notice, false, nil
	case errors.Is(err, domain.ErrUnknownType):
		d.Counter.Count(ctx, OutcomeUnknown, e)
		return notice, false, nil
	case err != nil:
		return notice, false, event.Drop(err)
	}
	return notice, true, nil
}

// Check returns why DeliverEvent can never handle an event, and nil for one that it can.
func Check(e event.Event) error {
	_, err := domain.Read(e)
	if errors.Is(err, domain.ErrSilent) || errors.Is(err, domain.ErrUnknownType) {
		return nil
	}
	return err
}

// deliver stores notices of one user, at most deliverBatch, in the inbox: all of them or none. It costs one read and one write
// of the inbox. For every domain.SegmentSize notices it also costs one write to the archive, one more of the inbox and one of
// each minute's guard.
func (d DeliverEvent) deliver(ctx context.Context, notices []domain.Notice) error {
	userID := notices[0].UserID
	attempt := domain.Attempt{Now: d.Clock.Now()}
	for range deliverSteps {
		inbox, err := d.inboxes.Update(ctx, userID, func(i *domain.Inbox) error { return i.Deliver(notices, attempt) })
		var unchecked *domain.UncheckedError
		switch {
		case err == nil:
			d.tidy(ctx, inbox)
			return nil
		case errors.Is(err, domain.ErrUnregistered):
			attempt.Entry, err = d.users.announce(ctx, userID)
		case errors.As(err, &unchecked):
			attempt.Segments = unchecked.Segments
			notices, err = d.withoutArchived(ctx, notices, unchecked.Notices)
		case errors.Is(err, domain.ErrFull):
			err = d.seal(ctx, userID)
		}
		if err != nil {
			return err
		}
		if len(notices) == 0 {
			return nil
		}
	}
	return event.Retry(fmt.Errorf("the inbox was not ready after %d steps", deliverSteps))
}

// withoutArchived removes the notices of doubt that are in the archive. Call it after the length of the archive was read with
// which the result is used.
func (d DeliverEvent) withoutArchived(ctx context.Context, notices, doubt []domain.Notice) ([]domain.Notice, error) {
	ids := make([]string, len(doubt))
	for i, notice := range doubt {
		ids[i] = notice.NotificationID()
	}
	archived, err := d.Archived(ctx, doubt[0].UserID, ids)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(notices), func(notice domain.Notice) bool {
		_, known := archived[notice.NotificationID()]
		return known
	}), nil
}

// tidy seals the head when it is long. The notices are stored already, so an error is only logged: the next event of the user
// tries again.
func (d DeliverEvent) tidy(ctx context.Context, inbox *domain.Inbox) {
	if inbox.Sealable() == nil {
		return
	}
	if err := d.seal(ctx, inbox.UserID); err != nil {
		d.Log.WarnContext(ctx, "sealing an inbox failed; the next event of the user tries again", "error", err)
	}
}
