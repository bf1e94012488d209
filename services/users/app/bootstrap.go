package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// bootstrapActor is the user in the event of the first admin's role.
const bootstrapActor = "bootstrap"

// ErrBootstrap is returned when the configured address belongs to an account with another password, which is not an admin.
// It may be another person's, so it stays as it is.
var ErrBootstrap = errors.New("the bootstrap address belongs to an account with another password")

// Bootstrap is the worker that creates the configured admin at start. It is a condition of readiness, so that nobody else
// can register the address first.
type Bootstrap struct {
	RegisterUser RegisterUser
	ChangeRoles  ChangeRoles
	// Email, Password and Name are those of the admin. There is nothing to do without Email.
	Email, Password, Name string
	Log                   *slog.Logger

	done atomic.Bool
}

// Run creates the admin. After an error it can be repeated, also by several replicas at the same time. It returns nil when
// there is nothing left to do. That includes ErrBootstrap, which needs a person.
func (b *Bootstrap) Run(ctx context.Context) error {
	err := b.ensure(ctx)
	if errors.Is(err, ErrBootstrap) {
		b.Log.ErrorContext(ctx, "The first admin was not created.", "error", err)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("creating the first admin: %w", err)
	}
	b.done.Store(true)
	return nil
}

// Ready returns nil when Run is done.
func (b *Bootstrap) Ready(context.Context) error {
	if !b.done.Load() {
		return errors.New("the first admin is not created yet")
	}
	return nil
}

// ensure creates the admin if there is no account with the address. The rules for new accounts do not apply to an account
// that exists, and its password does not change.
func (b *Bootstrap) ensure(ctx context.Context) error {
	if b.Email == "" {
		return nil
	}
	email, err := domain.ParseEmail(b.Email)
	if err != nil {
		return err
	}
	user, err := b.RegisterUser.byEmail(ctx, email)
	if errors.Is(err, domain.ErrNoUser) {
		applicant, invalid := domain.ParseApplicant(b.Email, b.Password, b.Name)
		if invalid != nil {
			return invalid
		}
		if _, err = b.RegisterUser.create(ctx, applicant, contract.RoleAdmin); !errors.Is(err, domain.ErrEmailTaken) {
			return err
		}
		user, err = b.RegisterUser.byEmail(ctx, email) // another replica was faster
	}
	if err != nil || user.HasRole(contract.RoleAdmin) {
		return err
	}
	return b.promote(ctx, user)
}

// promote makes an account an admin if the password proves that it belongs to the person who configured it.
func (b *Bootstrap) promote(ctx context.Context, user *domain.User) error {
	verdict, err := verify(ctx, b.RegisterUser.Passwords, user.PasswordHash, b.Password)
	if err != nil {
		return fmt.Errorf("verifying the password: %w", err)
	}
	if !verdict.Match {
		return ErrBootstrap
	}
	_, err = b.ChangeRoles.set(ctx, user, append(slices.Clone(user.Roles), contract.RoleAdmin), bootstrapActor, nil)
	return err
}
