package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// ResetPassword sets the password of an account with the token of a mail, and ends all its sessions in the same write.
type ResetPassword struct {
	*Accounts
	Mail      *MailTokens
	Passwords Passwords
}

// Do uses the token up. Its error is domain.ErrMailToken if the token is not valid, and a *domain.Violation of password; then the
// token can be used again. The token is checked before the password is hashed, as hashing is expensive.
func (u ResetPassword) Do(ctx context.Context, raw, password string) error {
	token, err := domain.ParseMailToken(contract.PurposePasswordReset, raw)
	if err != nil {
		return err
	}
	user, err := u.byID(ctx, token.UserID)
	if errors.Is(err, domain.ErrNoUser) {
		return domain.ErrMailToken
	}
	if err != nil {
		return err
	}
	if err := user.CheckPasswordReset(token, u.Mail.Key, u.Clock.Now()); err != nil {
		return err
	}
	fresh, err := domain.ParsePassword("password", password, user.Email, user.Name)
	if err != nil {
		return err
	}
	hash, err := u.Passwords.Hash(ctx, string(fresh))
	if err != nil {
		return fmt.Errorf("hashing a password: %w", err)
	}
	by, now := u.IDs.New(), u.Clock.Now()
	_, err = u.Users.Update(ctx, user.ID, func(user *domain.User) error { return user.ResetPassword(token, u.Mail.Key, by, hash, now) })
	if err != nil {
		return fmt.Errorf("resetting a password: %w", err)
	}
	return nil
}
