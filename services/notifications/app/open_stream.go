package app

import (
	"context"
	"fmt"

	"caravan/services/notifications/domain"
)

// MaxReplay is how many notifications a stream sends at most that are older than itself.
const MaxReplay = 500

// OpenStream opens a stream of what happens to a user: notifications, as ListNotifications shows them, and the statuses of the
// user's orders.
type OpenStream struct{ *Streams }

// Start is where a stream begins.
type Start struct {
	UserID string
	// After is the position after which notifications are sent. A negative one means only new notifications.
	After int
	// Permissions are those of the user. An event for users with one of them lets the inbox be read soon.
	Permissions []string
}

// Do opens a stream. Its errors are ErrTooManyStreams and ErrNoRoom, and those of the store.
func (u OpenStream) Do(ctx context.Context, start Start) (*Stream, error) {
	s := &Stream{
		streams: u.Streams, userID: start.UserID, permissions: start.Permissions,
		grown: make(chan struct{}, 1), alive: make(chan struct{}, 1), orders: make(chan domain.OrderStatus, ordersWaiting), slow: make(chan struct{}, 1),
	}
	// First registered and then read, so that nothing is missed in between.
	if err := u.add(s); err != nil {
		return nil, err
	}
	if err := u.read(ctx, s); err != nil {
		u.remove(s)
		return nil, fmt.Errorf("opening a stream: %w", err)
	}
	s.position = s.first.Total
	if start.After >= 0 && start.After < s.first.Total {
		s.position = max(start.After, s.first.Total-MaxReplay)
		s.skipped = s.position - start.After
	}
	return s, nil
}

// read reads what a stream begins with.
func (u OpenStream) read(ctx context.Context, s *Stream) (err error) {
	list := ListNotifications{Inboxes: u.inboxes, Preferences: u.wishes}
	if s.first, s.preferences, err = list.read(ctx, s.userID); err != nil {
		return err
	}
	if s.first == nil {
		s.first = &domain.Inbox{UserID: s.userID}
	}
	s.unread, err = list.unread(ctx, s.first, s.preferences)
	return err
}
