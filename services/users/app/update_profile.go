package app

import (
	"context"
	"fmt"

	"caravan/services/users/domain"
)

// UpdateProfile changes the caller's display name.
type UpdateProfile struct{ *Accounts }

// Do changes the name and returns the account. Its error is domain.ErrNoUser.
func (u UpdateProfile) Do(ctx context.Context, caller Caller, name domain.Name) (*domain.User, error) {
	now := u.Clock.Now()
	user, err := u.Users.Update(ctx, caller.UserID, func(user *domain.User) error { return user.Rename(name, now) })
	if err != nil {
		return nil, fmt.Errorf("changing a profile: %w", err)
	}
	return user, nil
}
