package app

import (
	"context"
	"errors"
	"fmt"
	"io"

	"caravan/services/users/domain"
)

// passwordAttempts is how often a password is verified again because it was changed in the very moment.
const passwordAttempts = 3

// Credentials identify a person.
type Credentials struct {
	Email, Password string
}

// LogIn opens a session. Its error is domain.ErrCredentials, after the same work, whether there is no such account or
// the password is wrong.
func (a *Accounts) LogIn(ctx context.Context, given Credentials) (Grant, error) {
	for range passwordAttempts {
		user, rehashed, err := a.authenticate(ctx, given)
		if err != nil {
			return Grant{}, err
		}
		grant, err := a.openSession(ctx, user, rehashed)
		if !errors.Is(err, domain.ErrPasswordMoved) {
			return grant, err
		}
	}
	return Grant{}, domain.ErrCredentials
}

// authenticate returns the account whose address and password were given, and a new hash of the password if the stored
// one is outdated.
func (a *Accounts) authenticate(ctx context.Context, given Credentials) (user *domain.User, rehashed string, err error) {
	user, encoded := nil, ""
	if email, err := domain.NormalizeEmail(given.Email); err == nil {
		user, err = a.userByEmail(ctx, email)
		if err == nil {
			encoded = user.PasswordHash
		} else if !errors.Is(err, domain.ErrNoUser) {
			return nil, "", err
		}
	}
	verdict, err := a.verifyPassword(ctx, encoded, given.Password)
	if err != nil {
		return nil, "", fmt.Errorf("verifying a password: %w", err)
	}
	if user == nil || !verdict.Match {
		return nil, "", domain.ErrCredentials
	}
	if verdict.Outdated {
		if rehashed, err = a.Passwords.Hash(ctx, domain.NormalizePassword(given.Password)); err != nil {
			return nil, "", fmt.Errorf("hashing a password again: %w", err)
		}
	}
	return user, rehashed, nil
}

// openSession notes the session in the account before it creates it: a crash in between leaves a note of a session that
// never was, which runs out, and never a session that no account knows.
func (a *Accounts) openSession(ctx context.Context, user *domain.User, rehashed string) (Grant, error) {
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(a.Random, nonce); err != nil {
		return Grant{}, fmt.Errorf("reading randomness: %w", err)
	}
	now, policy, verified := a.Clock.Now(), a.sessionPolicy(user), user.PasswordHash
	start := domain.NewSession{ID: a.IDs.New(), UserID: user.ID, Nonce: nonce}
	user, err := a.Users.Update(ctx, user.ID, func(u *domain.User) error {
		note := domain.OpenSession{ID: start.ID, OpenedAt: now, Until: now.Add(policy.Absolute)}
		return u.OpenSession(note, verified, rehashed, now)
	})
	if err != nil {
		return Grant{}, fmt.Errorf("noting a session: %w", err)
	}
	var refresh domain.RefreshToken
	session, err := a.Sessions.Update(ctx, start.ID, func(s *domain.Session) (err error) {
		refresh, err = s.Open(start, a.RefreshKey, policy, now)
		return err
	})
	if err != nil {
		return Grant{}, fmt.Errorf("opening a session: %w", err)
	}
	return a.grant(user, session, refresh, now)
}
