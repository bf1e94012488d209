package app

import (
	"context"
	"errors"
	"fmt"
	"io"

	"caravan/services/users/domain"
)

// LogIn opens a session.
type LogIn struct {
	*Accounts
	Passwords Passwords
	Tokens    *Tokens
	Random    io.Reader // cryptographically secure
	Devices   domain.DeviceKey
}

// Credentials identify a person.
type Credentials struct {
	Email, Password string
	// Agent and Address are the User-Agent and the network address of the client, if they are known. They are not stored.
	Agent, Address string
}

// Do opens a session. Its error is domain.ErrCredentials, after the same work, whether there is no such account or the
// password is wrong.
func (u LogIn) Do(ctx context.Context, given Credentials) (Grant, error) {
	for range passwordAttempts {
		user, rehashed, err := u.authenticate(ctx, given)
		if err != nil {
			return Grant{}, err
		}
		grant, err := u.open(ctx, user, rehashed, u.Devices.Device(user.ID, given.Agent, given.Address))
		if !errors.Is(err, domain.ErrPasswordMoved) {
			return grant, err
		}
	}
	return Grant{}, domain.ErrCredentials
}

// authenticate returns the account with the given address and password, and a new hash of the password if the stored one
// is outdated.
func (u LogIn) authenticate(ctx context.Context, given Credentials) (user *domain.User, rehashed string, err error) {
	user, encoded := nil, ""
	if email, err := domain.ParseEmail(given.Email); err == nil {
		user, err = u.byEmail(ctx, email)
		if err == nil {
			encoded = user.PasswordHash
		} else if !errors.Is(err, domain.ErrNoUser) {
			return nil, "", err
		}
	}
	verdict, err := verify(ctx, u.Passwords, encoded, given.Password)
	if err != nil {
		return nil, "", fmt.Errorf("verifying a password: %w", err)
	}
	if user == nil || !verdict.Match {
		return nil, "", domain.ErrCredentials
	}
	if verdict.Outdated {
		if rehashed, err = u.Passwords.Hash(ctx, string(domain.NormalizePassword(given.Password))); err != nil {
			return nil, "", fmt.Errorf("hashing a password again: %w", err)
		}
	}
	return user, rehashed, nil
}

// open records the session in the account before it creates it. A crash in between leaves a record without a session, which
// expires, and never a session that no account lists.
func (u LogIn) open(ctx context.Context, user *domain.User, rehashed, device string) (Grant, error) {
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(u.Random, nonce); err != nil {
		return Grant{}, fmt.Errorf("reading randomness: %w", err)
	}
	now, policy, verified := u.Clock.Now(), u.Tokens.policyOf(user), user.PasswordHash
	start := domain.NewSession{ID: u.IDs.New(), UserID: user.ID, Nonce: nonce}
	user, err := u.Users.Update(ctx, user.ID, func(user *domain.User) error {
		note := domain.OpenSession{ID: start.ID, OpenedAt: now, Until: now.Add(policy.Absolute)}
		return user.OpenSession(note, verified, rehashed, device, now)
	})
	if err != nil {
		return Grant{}, fmt.Errorf("recording a session: %w", err)
	}
	var refresh domain.RefreshToken
	session, err := u.Sessions.Update(ctx, start.ID, func(s *domain.Session) (err error) {
		refresh, err = s.Open(start, u.Tokens.RefreshKey, policy, now)
		return err
	})
	if err != nil {
		return Grant{}, fmt.Errorf("opening a session: %w", err)
	}
	return u.Tokens.grant(u.IDs.New(), user, session, refresh, now)
}
