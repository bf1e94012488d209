package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// Registration asks for a new account.
type Registration struct {
	Email, Password, Name string
}

// Register creates a customer's account. Its errors are domain.ErrEmailTaken or *domain.Violation of the fields email,
// password and name, joined.
func (a *Accounts) Register(ctx context.Context, ask Registration) (*domain.User, error) {
	return a.register(ctx, ask, contract.RoleCustomer)
}

// register creates an account with a role. The password is hashed before anything is written, as hashing is what may
// have to wait; then come the claim of the address, the entry in the list, and last the account that makes both count.
func (a *Accounts) register(ctx context.Context, ask Registration, role string) (*domain.User, error) {
	email, emailErr := domain.NewEmail(ask.Email)
	name, nameErr := domain.NormalizeName(ask.Name)
	password := domain.NormalizePassword(ask.Password)
	passwordErr := domain.CheckPassword("password", password, email, name)
	if err := errors.Join(emailErr, passwordErr, nameErr); err != nil {
		return nil, err
	}
	if _, err := a.userByEmail(ctx, email); err == nil {
		return nil, domain.ErrEmailTaken
	} else if !errors.Is(err, domain.ErrNoUser) {
		return nil, err
	}
	hash, err := a.Passwords.Hash(ctx, password)
	if err != nil {
		return nil, fmt.Errorf("hashing a password: %w", err)
	}
	claimant, now := a.IDs.New(), a.Clock.Now()
	claim, err := a.Claims.Update(ctx, domain.ClaimID(email), func(c *domain.Claim) error { return c.Assign(claimant, now) })
	if err != nil {
		return nil, fmt.Errorf("claiming an address: %w", err)
	}
	listed := Listed{UserID: claim.UserID, Entry: a.IDs.New()}
	if err := a.Registry.Prepend(ctx, everyone, listed.Entry, listed); err != nil {
		return nil, fmt.Errorf("listing an account: %w", err)
	}
	user, err := a.Users.Update(ctx, claim.UserID, func(u *domain.User) error {
		return u.Register(domain.Registration{
			ID: claim.UserID, Email: email, Name: name, PasswordHash: hash, Roles: []string{role}, ListedAs: listed.Entry,
		}, now)
	})
	if err != nil {
		return nil, fmt.Errorf("creating an account: %w", err)
	}
	return user, nil
}
