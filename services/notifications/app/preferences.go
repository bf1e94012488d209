package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/services/notifications/domain"
)

// preferencesPrefix begins the keys of preferences.
const preferencesPrefix = "preferences/"

// Preferences stores the preferences of all users.
type Preferences struct {
	documents *document.Repository[domain.Preferences, *domain.Preferences]
	clock     clock.Clock
}

// NewPreferences makes Preferences.
func NewPreferences(p Ports) *Preferences {
	return &Preferences{
		document.NewRepository[domain.Preferences](p.Store, document.Options{Prefix: preferencesPrefix, Clock: p.Clock, IDs: p.IDs}), p.Clock,
	}
}

// Of returns the preferences of a user. One who never set any has the defaults.
func (s *Preferences) Of(ctx context.Context, userID string) (*domain.Preferences, error) {
	p, err := s.documents.Get(ctx, userID)
	return orDefaults(userID, p, err)
}

// OfMany returns the preferences of users by user, the defaults for those who set none.
func (s *Preferences) OfMany(ctx context.Context, userIDs ...string) (map[string]*domain.Preferences, error) {
	all, err := s.documents.GetMany(ctx, userIDs...)
	if err != nil {
		return nil, fmt.Errorf("reading preferences: %w", err)
	}
	for _, userID := range userIDs {
		if all[userID] == nil {
			all[userID] = &domain.Preferences{UserID: userID}
		}
	}
	return all, nil
}

// change changes the preferences of a user, and notes when rules change: the audit compares messages with wishes of their time.
func (s *Preferences) change(ctx context.Context, userID string, change func(*domain.Preferences) error) (*domain.Preferences, error) {
	return s.documents.Update(ctx, userID, func(p *domain.Preferences) error {
		rules := slices.Clone(p.Rules)
		if err := change(p); err != nil {
			return err
		}
		if !p.Exists() || !slices.Equal(rules, p.Rules) {
			p.ChangedAt = s.clock.Now().UTC().Truncate(time.Millisecond)
		}
		return nil
	})
}

// orDefaults gives the defaults to a user without preferences.
func orDefaults(userID string, p *domain.Preferences, err error) (*domain.Preferences, error) {
	if errors.Is(err, document.ErrNotFound) {
		return &domain.Preferences{UserID: userID}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading preferences: %w", err)
	}
	return p, nil
}
