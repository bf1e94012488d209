package app

import (
	"context"
	"fmt"

	"caravan/services/users/domain"
)

// Profile returns the caller's account. Its error is domain.ErrNoUser.
func (a *Accounts) Profile(ctx context.Context, caller Caller) (*domain.User, error) {
	return a.userByID(ctx, caller.UserID)
}

// ProfileChange is a profile as its owner wants it.
type ProfileChange struct {
	Caller Caller
	Name   string
}

// UpdateProfile changes the caller's profile and returns it. Its errors are *domain.Violation of name and
// domain.ErrNoUser.
func (a *Accounts) UpdateProfile(ctx context.Context, ask ProfileChange) (*domain.User, error) {
	name, err := domain.NormalizeName(ask.Name)
	if err != nil {
		return nil, err
	}
	now := a.Clock.Now()
	user, err := a.Users.Update(ctx, ask.Caller.UserID, func(u *domain.User) error { return u.Rename(name, now) })
	if err != nil {
		return nil, fmt.Errorf("changing a profile: %w", err)
	}
	return user, nil
}
