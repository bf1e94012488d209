package app

import (
	"context"
	"fmt"

	"caravan/services/notifications/domain"
)

// SetPreferences replaces the preferences of a user.
type SetPreferences struct{ *Preferences }

// Do replaces all settings and returns the preferences as stored. Of two replacements at once the last one stays. Its error for
// settings that break a rule wraps domain.Violations.
func (u SetPreferences) Do(ctx context.Context, userID string, s domain.Settings) (*domain.Preferences, error) {
	p, err := u.change(ctx, userID, func(p *domain.Preferences) error { return p.Set(userID, s) })
	if err != nil {
		return nil, fmt.Errorf("setting preferences: %w", err)
	}
	return p, nil
}
