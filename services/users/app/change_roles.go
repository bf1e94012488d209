package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// ErrNotAllowed says that the caller may not do this, or no longer: the account decides, not what its token still says.
var ErrNotAllowed = errors.New("not allowed")

// RolesChange gives an account exactly these roles.
type RolesChange struct {
	Caller Caller
	UserID string
	Roles  []string
}

// ChangeRoles changes an account's roles and returns it. Tokens say the new roles from the next refresh on. Its errors
// are *domain.Violation of the entries of roles, domain.ErrNoUser, domain.ErrOwnAdminRole, domain.ErrSessionEnded when
// the caller's session is over, and ErrNotAllowed.
func (a *Accounts) ChangeRoles(ctx context.Context, ask RolesChange) (*domain.User, error) {
	if err := a.requireLive(ctx, ask.Caller, contract.PermissionUsersAdmin); err != nil {
		return nil, err
	}
	if err := domain.CheckRoles(ask.Roles); err != nil {
		return nil, err
	}
	now := a.Clock.Now()
	user, err := a.Users.Update(ctx, ask.UserID, func(u *domain.User) error {
		return u.ChangeRoles(ask.Roles, ask.Caller.UserID, now)
	})
	if err != nil {
		return nil, fmt.Errorf("changing roles: %w", err)
	}
	return user, nil
}

// requireLive checks the caller's account and session as they are now, where five minutes of an outdated token would
// be too long.
func (a *Accounts) requireLive(ctx context.Context, caller Caller, permission string) error {
	user, err := a.userByID(ctx, caller.UserID)
	switch {
	case errors.Is(err, domain.ErrNoUser):
		return domain.ErrSessionEnded
	case err != nil:
		return err
	case !user.HasSession(caller.SessionID, a.Clock.Now()):
		return domain.ErrSessionEnded
	case !user.Can(permission):
		return ErrNotAllowed
	}
	return nil
}
