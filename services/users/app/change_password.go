package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/services/users/domain"
)

// PasswordChange replaces the caller's password.
type PasswordChange struct {
	Caller       Caller
	Current, New string
}

// ChangePassword replaces the password and ends the caller's other sessions, in one write: a session lives only while
// its account lists it. Its errors are *domain.Violation of currentPassword or newPassword, and domain.ErrSessionEnded
// when the access token outlived its session.
func (a *Accounts) ChangePassword(ctx context.Context, ask PasswordChange) error {
	for range passwordAttempts {
		if err := a.changePassword(ctx, ask); !errors.Is(err, domain.ErrPasswordMoved) {
			return err
		}
	}
	return wrongPassword()
}

func (a *Accounts) changePassword(ctx context.Context, ask PasswordChange) error {
	user, err := a.userByID(ctx, ask.Caller.UserID)
	if errors.Is(err, domain.ErrNoUser) {
		return domain.ErrSessionEnded
	}
	if err != nil {
		return err
	}
	if !user.HasSession(ask.Caller.SessionID, a.Clock.Now()) {
		return domain.ErrSessionEnded
	}
	password := domain.NormalizePassword(ask.New)
	if err := domain.CheckPassword("newPassword", password, user.Email, user.Name); err != nil {
		return err
	}
	verdict, err := a.verifyPassword(ctx, user.PasswordHash, ask.Current)
	if err != nil {
		return fmt.Errorf("verifying a password: %w", err)
	}
	if !verdict.Match {
		return wrongPassword()
	}
	hash, err := a.Passwords.Hash(ctx, password)
	if err != nil {
		return fmt.Errorf("hashing a password: %w", err)
	}
	now := a.Clock.Now()
	_, err = a.Users.Update(ctx, user.ID, func(u *domain.User) error {
		return u.ChangePassword(user.PasswordHash, hash, ask.Caller.SessionID, now)
	})
	if err != nil {
		return fmt.Errorf("changing a password: %w", err)
	}
	return nil
}

func wrongPassword() error {
	return &domain.Violation{Field: "currentPassword", Code: "wrong", Message: "is not the current password"}
}
