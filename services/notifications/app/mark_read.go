package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/notifications/domain"
)

// MarkRead marks a notification as read.
type MarkRead struct{ *Inboxes }

// Do marks a notification of a user as read. Doing so again changes nothing. For one that is not in the user's own inbox it
// returns document.ErrNotFound, whether or not another user has it.
func (u MarkRead) Do(ctx context.Context, userID, notificationID string) error {
	if !id.Valid(notificationID) {
		return document.ErrNotFound
	}
	now := u.Clock.Now()
	_, err := u.inboxes.Update(ctx, userID, func(i *domain.Inbox) error { return i.MarkRead(notificationID, now) })
	if errors.Is(err, domain.ErrNotInHead) {
		// An entry leaves the head only after its guard has it, so it is found in one of the two.
		guard := domain.GuardID(userID, notificationID)
		_, err = u.guards.Update(ctx, guard, func(g *domain.Guard) error { return g.MarkRead(notificationID, now) })
	}
	if err != nil {
		return fmt.Errorf("marking a notification as read: %w", err)
	}
	return nil
}
