package app

import (
	"context"
	"fmt"

	"caravan/services/users/domain"
)

// RequestVerification asks for another mail that verifies the caller's address.
type RequestVerification struct {
	*Accounts
	Mail *MailTokens
}

// Do asks for the mail. The token of an earlier one is not valid any more. Errors: domain.ErrNoUser, domain.ErrVerified,
// *domain.TooSoonError.
func (u RequestVerification) Do(ctx context.Context, caller Caller) error {
	now := u.Clock.Now()
	request, err := u.Mail.request(u.IDs.New(), u.Mail.VerificationTTL, now)
	if err != nil {
		return err
	}
	_, err = u.Users.Update(ctx, caller.UserID, func(user *domain.User) error { return user.RequestVerification(request, now) })
	if err != nil {
		return fmt.Errorf("asking for a mail that verifies an address: %w", err)
	}
	return nil
}
