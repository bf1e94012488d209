package app

import (
	"context"
	"errors"

	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// IssueMailToken gives the token of a mail to the service that sends it.
type IssueMailToken struct {
	*Accounts
	Mail *MailTokens
}

// Do returns the token of a request, and an empty answer if it is not valid any more. It changes nothing: each attempt to send a
// mail gets the same token.
func (u IssueMailToken) Do(ctx context.Context, asked contract.MailTokenRequest) (contract.MailToken, error) {
	user, err := u.byID(ctx, asked.UserID)
	if errors.Is(err, domain.ErrNoUser) {
		return contract.MailToken{}, nil
	}
	if err != nil {
		return contract.MailToken{}, err
	}
	token, until, ok := user.MailToken(asked.Purpose, asked.RequestID, u.Mail.Key, u.Clock.Now())
	if !ok {
		return contract.MailToken{}, nil
	}
	return contract.MailToken{Token: token.String(), Until: until}, nil
}
