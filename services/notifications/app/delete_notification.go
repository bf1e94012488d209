package app

import (
	"context"
	"fmt"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/notifications/domain"
)

// DeleteNotification deletes a notification.
type DeleteNotification struct{ *Inboxes }

// Do deletes a notification of a user for good: its event does not come back however often it is delivered. Doing so again changes
// nothing. For one that is not in the user's own inbox it returns document.ErrNotFound, whether or not another user has it.
func (u DeleteNotification) Do(ctx context.Context, userID, notificationID string) error {
	if !id.Valid(notificationID) {
		return document.ErrNotFound
	}
	now := u.Clock.Now()
	err := u.mark(ctx, userID, notificationID,
		func(i *domain.Inbox) error { return i.Delete(notificationID, now) },
		func(g *domain.Guard) error { return g.Delete(notificationID, now) })
	if err != nil {
		return fmt.Errorf("deleting a notification: %w", err)
	}
	return nil
}
