package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

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

// spreadAtOnce is how many users of an audience get their notices at the same time.
const spreadAtOnce = 8

// DeliverEvent puts a notification of an event into the inbox of its user, or of each user of its audience, and into the outbox of
// the other channels.
type DeliverEvent struct {
	*Inboxes
	Counter Counter
	// Staff says for whom an event is that names no user.
	Staff Staff
	// Outbox is nil if there is no other channel.
	Outbox *Outbox
	// History notes which channels there are, and may be nil.
	History *ChannelHistory
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
	case !domain.Notifiable(e.Type) && !d.Outbox.Takes(e.Type): // its kind has no channel here
		d.Counter.Count(ctx, OutcomeSilent, e)
		return notice, false, nil
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

// deliver stores notices of one user, at most deliverBatch, or one notice to an audience, for all channels. Nothing of it is done
// twice, so that a repeat completes what a failure or a crash left.
func (d DeliverEvent) deliver(ctx context.Context, notices []domain.Notice) error {
	if err := d.History.Note(ctx); err != nil {
		return err
	}
	if notices[0].Audience == nil {
		return d.deliverTo(ctx, notices)
	}
	userIDs, err := d.audience(ctx, notices[0])
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(spreadAtOnce)
	for _, userID := range userIDs {
		group.Go(func() error { return d.deliverTo(ctx, []domain.Notice{notices[0].For(userID)}) })
	}
	return group.Wait()
}

// deliverTo stores notices of one user. The inbox comes first, as people wait for it.
func (d DeliverEvent) deliverTo(ctx context.Context, notices []domain.Notice) error {
	var shown []domain.Notice
	for _, n := range notices {
		if domain.Notifiable(n.Type) {
			shown = append(shown, n)
		}
	}
	if len(shown) > 0 {
		if err := d.enter(ctx, shown); err != nil {
			return err
		}
	}
	return d.Outbox.Record(ctx, notices)
}

// enter stores notices of one user, at most deliverBatch, in the inbox: all of them or none. It costs one read and one write
// of the inbox. For every domain.SegmentSize notices it also costs one write to the archive, one more of the inbox and one of
// each guard of their times.
func (d DeliverEvent) enter(ctx context.Context, notices []domain.Notice) error {
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
