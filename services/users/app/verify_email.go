package app

import (
	"context"
	"fmt"

	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// VerifyEmail verifies the address of an account with the token of a mail. It needs no session: the mail may be read on another
// device.
type VerifyEmail struct {
	*Accounts
	Mail *MailTokens
}

// Do uses the token up. Its error is domain.ErrMailToken if the token is not valid.
func (u VerifyEmail) Do(ctx context.Context, raw string) error {
	token, err := domain.ParseMailToken(contract.PurposeVerification, raw)
	if err != nil {
		return err
	}
	by, now := u.IDs.New(), u.Clock.Now()
	_, err = u.Users.Update(ctx, token.UserID, func(user *domain.User) error { return user.VerifyEmail(token, u.Mail.Key, by, now) })
	if err != nil {
		return fmt.Errorf("verifying an address: %w", err)
	}
	return nil
}
