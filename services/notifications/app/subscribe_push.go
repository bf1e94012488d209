package app

import (
	"context"
	"fmt"

	"caravan/services/notifications/domain"
)

// SubscribePush lets a device of a user get push messages.
type SubscribePush struct{ *PushSubscriptions }

// Do adds a device, or renews it. First the endpoint becomes the user's: an earlier user of the same browser gets no more messages in it.
func (u SubscribePush) Do(ctx context.Context, userID string, t domain.PushTarget) (domain.PushSubscription, error) {
	if _, err := u.endpoints.Update(ctx, t.EndpointID(), func(e *domain.PushEndpoint) error { return e.Claim(userID) }); err != nil {
		return domain.PushSubscription{}, fmt.Errorf("claiming an endpoint for push: %w", err)
	}
	stored, err := u.documents.Update(ctx, userID, func(p *domain.PushSubscriptions) error {
		return p.Subscribe(userID, t, u.Clock.Now())
	})
	if err != nil {
		return domain.PushSubscription{}, fmt.Errorf("subscribing to push: %w", err)
	}
	// Another subscription at the same moment may have taken its place already.
	found, ok := stored.Find(domain.PushSubscriptionID(userID, t))
	if !ok {
		now := u.Clock.Now()
		found = domain.PushSubscription{ID: domain.PushSubscriptionID(userID, t), PushTarget: t, CreatedAt: now, RenewedAt: now}
	}
	return found, nil
}
