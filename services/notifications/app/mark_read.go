package app

import (
	"context"
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
	err := u.mark(ctx, userID, notificationID,
		func(i *domain.Inbox) error { return i.MarkRead(notificationID, now) },
		func(g *domain.Guard) error { return g.MarkRead(notificationID, now) })
	if err != nil {
		return fmt.Errorf("marking a notification as read: %w", err)
	}
	return nil
}
