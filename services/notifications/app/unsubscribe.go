package app

import (
	"context"
	"fmt"

	"caravan/internal/clock"
	"caravan/services/notifications/domain"
)

// Unsubscribe switches the messages off that a link is about.
type Unsubscribe struct {
	*Preferences
	Links UnsubscribeLinks
	Clock clock.Clock
}

// Do switches them off. A repeat changes nothing. It returns domain.ErrUnsubscribe for a token that is not valid.
func (u Unsubscribe) Do(ctx context.Context, token string) (Unsubscription, error) {
	asked, kind, err := u.Links.read(token, u.Clock)
	if err != nil {
		return Unsubscription{}, err
	}
	wishes, err := u.change(ctx, asked.UserID, func(p *domain.Preferences) error {
		return p.SwitchOff(asked.UserID, kind, asked.Channel)
	})
	if err != nil {
		return Unsubscription{}, fmt.Errorf("switching %s off: %w", kind.Name, err)
	}
	return Unsubscription{Kind: kind, Wishes: wishes, Off: true}, nil
}
