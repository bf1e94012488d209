package app

import (
	"context"

	"caravan/services/notifications/domain"
)

// ListPushSubscriptions shows users which of their devices get push messages.
type ListPushSubscriptions struct{ *PushSubscriptions }

// Do returns the subscriptions of a user, at most domain.MaxPushSubscriptions.
func (u ListPushSubscriptions) Do(ctx context.Context, userID string) ([]domain.PushSubscription, error) {
	own, _, err := u.usable(ctx, userID)
	return own, err
}
