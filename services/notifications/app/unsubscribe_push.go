package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/services/notifications/domain"
)

// UnsubscribePush ends the push messages to a device of a user.
type UnsubscribePush struct{ *PushSubscriptions }

// Do removes a subscription. It returns document.ErrNotFound for one that the user does not have.
func (u UnsubscribePush) Do(ctx context.Context, userID, subscriptionID string) error {
	_, err := u.documents.Update(ctx, userID, func(p *domain.PushSubscriptions) error {
		found, ok := p.Find(subscriptionID)
		if !ok {
			return document.ErrNotFound
		}
		return p.Remove(found)
	})
	if errors.Is(err, document.ErrNotFound) {
		return fmt.Errorf("push subscription: %w", document.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("unsubscribing from push: %w", err)
	}
	return nil
}
