package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// RegisterUser creates the account of a customer, and asks for the mail that verifies its address.
type RegisterUser struct {
	*Accounts
	Passwords Passwords
	Mail      *MailTokens
}

// Do creates the account. Its error is domain.ErrEmailTaken if the address has an account.
func (u RegisterUser) Do(ctx context.Context, applicant domain.Applicant) (*domain.User, error) {
	return u.create(ctx, applicant, contract.RoleCustomer)
}

// create creates an account with a role. The password is hashed before anything is written, because hashing may have to
// wait. Then the claim of the address and the entry in the list are written, and last the account, which makes both valid.
func (u RegisterUser) create(ctx context.Context, applicant domain.Applicant, role string) (*domain.User, error) {
	if _, err := u.byEmail(ctx, applicant.Email); err == nil {
		return nil, domain.ErrEmailTaken
	} else if !errors.Is(err, domain.ErrNoUser) {
		return nil, err
	}
	hash, err := u.Passwords.Hash(ctx, string(applicant.Password))
	if err != nil {
		return nil, fmt.Errorf("hashing a password: %w", err)
	}
	claimant, now := u.IDs.New(), u.Clock.Now()
	verification, err := u.Mail.request(u.IDs.New(), u.Mail.VerificationTTL, now)
	if err != nil {
		return nil, err
	}
	claim, err := u.Claims.Update(ctx, domain.ClaimID(applicant.Email), func(c *domain.Claim) error { return c.Assign(claimant, now) })
	if err != nil {
		return nil, fmt.Errorf("claiming an address: %w", err)
	}
	entry := listed{UserID: claim.UserID, Entry: u.IDs.New()}
	if err := u.registry.Prepend(ctx, everyone, entry.Entry, entry); err != nil {
		return nil, fmt.Errorf("listing an account: %w", err)
	}
	if err := u.enterStaff(ctx, claim.UserID, []string{role}); err != nil {
		return nil, err
	}
	user, err := u.Users.Update(ctx, claim.UserID, func(user *domain.User) error {
		return user.Register(domain.Registration{
			ID: claim.UserID, Email: applicant.Email, Name: applicant.Name, PasswordHash: hash, Roles: []string{role}, ListedAs: entry.Entry,
			Verification: verification,
		}, now)
	})
	if err != nil {
		return nil, fmt.Errorf("creating an account: %w", err)
	}
	return user, nil
}
