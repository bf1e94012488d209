package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/services/notifications/domain"
)

// MarkAllRead marks many notifications as read.
type MarkAllRead struct{ *Inboxes }

// errNoInbox ends a change of an inbox that does not exist.
var errNoInbox = errors.New("the user has no inbox")

// Do marks the notifications of a user up to a position as read, with one write. Later ones, which the user may not have seen,
// stay unread.
func (u MarkAllRead) Do(ctx context.Context, userID string, upTo int) error {
	now := u.Clock.Now()
	_, err := u.inboxes.Update(ctx, userID, func(i *domain.Inbox) error {
		if i.Total == 0 {
			return errNoInbox
		}
		return i.MarkAllRead(upTo, now)
	})
	if err != nil && !errors.Is(err, errNoInbox) {
		return fmt.Errorf("marking notifications as read: %w", err)
	}
	return nil
}
