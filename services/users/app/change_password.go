package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/services/users/domain"
)

// ChangePassword replaces the caller's password and ends the caller's other sessions in one write: a session is only valid
// while its account lists it.
type ChangePassword struct {
	*Accounts
	Passwords Passwords
}

// PasswordChange replaces the caller's password.
type PasswordChange struct {
	Caller       Caller
	Current, New string
}

// Do replaces the password. Its errors are *domain.Violation of currentPassword or newPassword, and domain.ErrSessionEnded
// when the session of the access token has ended.
func (u ChangePassword) Do(ctx context.Context, ask PasswordChange) error {
	for range passwordAttempts {
		if err := u.attempt(ctx, ask); !errors.Is(err, domain.ErrPasswordMoved) {
			return err
		}
	}
	return wrongPassword()
}

func (u ChangePassword) attempt(ctx context.Context, ask PasswordChange) error {
	user, err := u.ofSession(ctx, ask.Caller)
	if err != nil {
		return err
	}
	password, err := domain.ParsePassword("newPassword", ask.New, user.Email, user.Name)
	if err != nil {
		return err
	}
	verdict, err := verify(ctx, u.Passwords, user.PasswordHash, ask.Current)
	if err != nil {
		return fmt.Errorf("verifying a password: %w", err)
	}
	if !verdict.Match {
		return wrongPassword()
	}
	hash, err := u.Passwords.Hash(ctx, string(password))
	if err != nil {
		return fmt.Errorf("hashing a password: %w", err)
	}
	verified, now := user.PasswordHash, u.Clock.Now()
	_, err = u.Users.Update(ctx, user.ID, func(user *domain.User) error {
		return user.ChangePassword(verified, hash, ask.Caller.SessionID, now)
	})
	if err != nil {
		return fmt.Errorf("changing a password: %w", err)
	}
	return nil
}

func wrongPassword() error {
	return &domain.Violation{Field: "currentPassword", Code: "wrong", Message: "is not the current password"}
}
