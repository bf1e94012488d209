package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/notifications/domain"
)

// MarkRead notes that a user has read a notification. Doing so again changes nothing. What is not in the user's own
// inbox is document.ErrNotFound, whether or not somebody else has it.
func (n *Notifications) MarkRead(ctx context.Context, userID, notificationID string) error {
	if !id.Valid(notificationID) {
		return document.ErrNotFound
	}
	now := n.Clock.Now()
	_, err := n.inboxes.Update(ctx, userID, func(i *domain.Inbox) error { return i.MarkRead(notificationID, now) })
	if errors.Is(err, domain.ErrNotInHead) {
		// An entry leaves the head only after its guard has it, so it is found in one of the two.
		guard := domain.GuardID(userID, notificationID)
		_, err = n.guards.Update(ctx, guard, func(g *domain.Guard) error { return g.MarkRead(notificationID, now) })
	}
	if err != nil {
		return fmt.Errorf("marking a notification as read: %w", err)
	}
	return nil
}
