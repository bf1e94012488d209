package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/services/notifications/domain"
)

// Staff says who has a permission.
type Staff interface {
	// With returns the users with a permission, at most limit of them.
	With(ctx context.Context, permission string, limit int) ([]string, error)
}

// audience returns the users of the audience of a notice. Whom an event for those with a permission reaches is decided when it is
// first handled, and stored: a repeat reaches the same users, also if roles have changed, and the audit can check that each of them
// was reached.
func (d DeliverEvent) audience(ctx context.Context, n domain.Notice) ([]string, error) {
	if n.Audience.Permission == "" {
		return n.Audience.Users, nil
	}
	reached, err := d.reached.Get(ctx, n.EventID)
	if errors.Is(err, document.ErrNotFound) {
		reached, err = d.decide(ctx, n)
	}
	if err != nil {
		return nil, fmt.Errorf("finding whom an event is for: %w", err)
	}
	return reached.UserIDs, nil
}

func (d DeliverEvent) decide(ctx context.Context, n domain.Notice) (*domain.Reached, error) {
	userIDs, err := d.Staff.With(ctx, n.Audience.Permission, domain.MaxAudience)
	if err != nil {
		return nil, err
	}
	return d.reached.Update(ctx, n.EventID, func(r *domain.Reached) error { return r.Decide(userIDs) })
}

// Decided returns the users that events for those with a permission reach, by event. One that was not handled yet is absent.
func (s *Inboxes) Decided(ctx context.Context, eventIDs ...string) (map[string][]string, error) {
	documents, err := s.reached.GetMany(ctx, eventIDs...)
	if err != nil {
		return nil, fmt.Errorf("reading audiences: %w", err)
	}
	decided := make(map[string][]string, len(documents))
	for eventID, reached := range documents {
		decided[eventID] = reached.UserIDs
	}
	return decided, nil
}
