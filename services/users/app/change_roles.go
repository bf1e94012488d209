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

// ErrNotAllowed is returned when the caller does not have the permission now. The account decides, and not the token, which
// may be older.
var ErrNotAllowed = errors.New("not allowed")

// ChangeRoles gives an account exactly the given roles. The tokens of the account contain them from the next refresh on.
type ChangeRoles struct{ *Accounts }

// RolesChange gives the account of UserID exactly these Roles.
type RolesChange struct {
	Caller Caller
	UserID string
	Roles  []string
}

// Do changes the roles and returns the account. Its errors are *domain.Violation of the entries of roles, domain.ErrNoUser,
// domain.ErrOwnAdminRole, domain.ErrSessionEnded when the caller's session has ended, and ErrNotAllowed.
func (u ChangeRoles) Do(ctx context.Context, ask RolesChange) (*domain.User, error) {
	for {
		caller, err := u.ofSession(ctx, ask.Caller)
		if err != nil {
			return nil, err
		}
		if !caller.Can(contract.PermissionUsersAdmin) {
			return nil, ErrNotAllowed
		}
		if err := domain.CheckRoles(ask.Roles); err != nil {
			return nil, err
		}
		user, err := u.byID(ctx, ask.UserID)
		if err != nil {
			return nil, err
		}
		changed, err := u.set(ctx, user, ask.Roles, caller.ID, func(admins *domain.Admins) (int64, error) {
			return admins.Dismiss(user, caller)
		})
		switch {
		case errors.Is(err, domain.ErrAdminUndecided): // something has changed in the meantime
			err = u.confirm(ctx, caller)
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

// set decides whether an account is an admin, if it is one or becomes one, and then writes its roles. A crash in between
// leaves an account that does not follow the decision yet. The next change of its roles corrects it.
func (u ChangeRoles) set(ctx context.Context, user *domain.User, roles []string, by string, dismiss func(*domain.Admins) (int64, error)) (*domain.User, error) {
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
		_, err := u.Admins.Update(ctx, everyone, func(admins *domain.Admins) (err error) {
			term, err = decide(admins)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if err := u.enterStaff(ctx, user.ID, roles); err != nil {
		return nil, err
	}
	now := u.Clock.Now()
	return u.Users.Update(ctx, user.ID, func(u *domain.User) error { return u.ChangeRoles(roles, by, term, now) })
}

// confirm updates the account of an admin to the latest decision about it.
func (u ChangeRoles) confirm(ctx context.Context, user *domain.User) error {
	admins, err := u.Admins.Get(ctx, everyone)
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
	_, err = u.Users.Update(ctx, user.ID, func(u *domain.User) error { return u.ConfirmAdmin(term) })
	return err
}
