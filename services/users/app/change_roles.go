package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"caravan/internal/document"
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
	for {
		caller, err := a.requireLive(ctx, ask.Caller, contract.PermissionUsersAdmin)
		if err != nil {
			return nil, err
		}
		if err := domain.CheckRoles(ask.Roles); err != nil {
			return nil, err
		}
		user, err := a.userByID(ctx, ask.UserID)
		if err != nil {
			return nil, err
		}
		changed, err := a.setRoles(ctx, user, ask.Roles, caller.ID, func(admins *domain.Admins) (int64, error) {
			return admins.Dismiss(user, caller)
		})
		switch {
		case errors.Is(err, domain.ErrAdminUndecided): // something changed meanwhile
			err = a.confirm(ctx, caller)
		case err == nil:
			return changed, nil
		}
		if errors.Is(err, domain.ErrDismissed) {
			return nil, ErrNotAllowed
		}
		if err != nil {
			return nil, fmt.Errorf("changing roles: %w", err)
		}
	}
}

// setRoles decides whether an account is an admin, if it is or becomes one, and then writes its roles. A crash in between
// leaves an account that does not follow the decision yet; the next change of its roles makes it do so.
func (a *Accounts) setRoles(ctx context.Context, user *domain.User, roles []string, by string, dismiss func(*domain.Admins) (int64, error)) (*domain.User, error) {
	decide := func(*domain.Admins) (int64, error) { return 0, document.ErrUnchanged }
	is, becomes := user.HasRole(contract.RoleAdmin), slices.Contains(roles, contract.RoleAdmin)
	switch {
	case becomes:
		decide = func(admins *domain.Admins) (int64, error) { return admins.Appoint(user) }
	case is && by == user.ID:
		return nil, domain.ErrOwnAdminRole
	case is:
		decide = dismiss
	}
	var term int64
	if is || becomes {
		_, err := a.Admins.Update(ctx, everyone, func(admins *domain.Admins) (err error) {
			term, err = decide(admins)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	now := a.Clock.Now()
	return a.Users.Update(ctx, user.ID, func(u *domain.User) error { return u.ChangeRoles(roles, by, term, now) })
}

// confirm brings the account of an admin up to the latest decision about it.
func (a *Accounts) confirm(ctx context.Context, user *domain.User) error {
	admins, err := a.Admins.Get(ctx, everyone)
	if errors.Is(err, document.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	term := admins.Appointed(user.ID)
	if term <= user.AdminTerm {
		return nil
	}
	_, err = a.Users.Update(ctx, user.ID, func(u *domain.User) error { return u.ConfirmAdmin(term) })
	return err
}

// requireLive checks the caller's account and session as they are now, where five minutes of an outdated token would
// be too long, and returns the account.
func (a *Accounts) requireLive(ctx context.Context, caller Caller, permission string) (*domain.User, error) {
	user, err := a.userByID(ctx, caller.UserID)
	switch {
	case errors.Is(err, domain.ErrNoUser):
		return nil, domain.ErrSessionEnded
	case err != nil:
		return nil, err
	case !user.HasSession(caller.SessionID, a.Clock.Now()):
		return nil, domain.ErrSessionEnded
	case !user.Can(permission):
		return nil, ErrNotAllowed
	}
	return user, nil
}
