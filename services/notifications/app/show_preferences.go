package app

import (
	"context"

	"caravan/services/notifications/domain"
)

// ShowPreferences shows users their preferences.
type ShowPreferences struct{ *Preferences }

// Do returns the preferences of a user, which are the defaults before they are set.
func (u ShowPreferences) Do(ctx context.Context, userID string) (*domain.Preferences, error) {
	return u.Of(ctx, userID)
}
