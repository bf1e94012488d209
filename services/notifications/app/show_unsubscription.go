package app

import (
	"context"

	"caravan/internal/clock"
	"caravan/services/notifications/domain"
)

// Unsubscription is a kind of messages that a link is about.
type Unsubscription struct {
	Kind domain.Kind
	// Wishes are those of the user. They know whether the messages are off, and the language.
	Wishes *domain.Preferences
	// Off reports whether the user gets no such messages.
	Off bool
}

// ShowUnsubscription shows what a link is about. It changes nothing, because programs that look for bad links open them, too.
type ShowUnsubscription struct {
	*Preferences
	Links UnsubscribeLinks
	Clock clock.Clock
}

// Do reads a token. It returns domain.ErrUnsubscribe for one that is not valid.
func (u ShowUnsubscription) Do(ctx context.Context, token string) (Unsubscription, error) {
	asked, kind, err := u.Links.read(token, u.Clock)
	if err != nil {
		return Unsubscription{}, err
	}
	wishes, err := u.Of(ctx, asked.UserID)
	if err != nil {
		return Unsubscription{}, err
	}
	return Unsubscription{Kind: kind, Wishes: wishes, Off: !wishes.Wants(kind, asked.Channel)}, nil
}
