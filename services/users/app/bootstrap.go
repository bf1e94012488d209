package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// bootstrapActor is named in events as who made the first admin.
const bootstrapActor = "bootstrap"

// ErrBootstrap says that somebody else holds the configured admin's address: the account is no admin and has another
// password, so it is left alone.
var ErrBootstrap = errors.New("the bootstrap address belongs to an account with another password")

// Bootstrap makes sure that the configured admin exists. It can be repeated, also by several replicas at once, and
// never changes the password of an account that exists. An account that exists was accepted by the rules of its day:
// only a new one has to meet those of today.
func (a *Accounts) Bootstrap(ctx context.Context, admin Registration) error {
	email, err := domain.NormalizeEmail(admin.Email)
	if err != nil {
		return fmt.Errorf("creating the first admin: %w", err)
	}
	user, err := a.userByEmail(ctx, email)
	if errors.Is(err, domain.ErrNoUser) {
		if _, err = a.register(ctx, admin, contract.RoleAdmin); err == nil {
			return nil
		}
		if !errors.Is(err, domain.ErrEmailTaken) {
			return fmt.Errorf("creating the first admin: %w", err)
		}
		user, err = a.userByEmail(ctx, email) // another replica was faster
	}
	if err != nil {
		return fmt.Errorf("finding the first admin: %w", err)
	}
	if user.HasRole(contract.RoleAdmin) {
		return nil
	}
	return a.promote(ctx, user, admin.Password)
}

// promote makes an account an admin if the password shows that it belongs to who configured it.
func (a *Accounts) promote(ctx context.Context, user *domain.User, password string) error {
	verdict, err := a.verifyPassword(ctx, user.PasswordHash, password)
	if err != nil {
		return fmt.Errorf("verifying the first admin's password: %w", err)
	}
	if !verdict.Match {
		return ErrBootstrap
	}
	_, err = a.setRoles(ctx, user, append(slices.Clone(user.Roles), contract.RoleAdmin), bootstrapActor, nil)
	if err != nil {
		return fmt.Errorf("promoting the first admin: %w", err)
	}
	return nil
}
