package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"caravan/internal/document"
	"caravan/services/users/domain"
)

// ErrRefresh is returned for every refresh token that is not valid, so that clients learn nothing of the reason. It comes
// with domain.ErrRefreshToken or domain.ErrSessionEnded, and with ErrTokenReused.
var ErrRefresh = errors.New("the refresh token is not valid")

// ErrTokenReused is returned when a used refresh token was presented again and its session was ended because of it.
var ErrTokenReused = fmt.Errorf("refresh token was used before: %w", domain.ErrSessionEnded)

// Refresh continues a session: its newest refresh token is replaced by the next one, and an access token is issued with the
// permissions that the account has now.
type Refresh struct {
	*Accounts
	Tokens *Tokens
	Log    *slog.Logger
}

// Do takes a refresh token. Its error is ErrRefresh if the token is not valid.
func (u Refresh) Do(ctx context.Context, raw string) (Grant, error) {
	grant, err := u.renew(ctx, raw)
	if errors.Is(err, ErrTokenReused) {
		u.Log.WarnContext(ctx, "A used refresh token was presented again. Its session was ended.", "error", err)
	}
	if errors.Is(err, domain.ErrRefreshToken) || errors.Is(err, domain.ErrSessionEnded) {
		return Grant{}, fmt.Errorf("%w: %w", ErrRefresh, err)
	}
	return grant, err
}

func (u Refresh) renew(ctx context.Context, raw string) (Grant, error) {
	presented, err := domain.ParseRefreshToken(raw)
	if err != nil {
		return Grant{}, err
	}
	session, err := u.Sessions.Get(ctx, presented.SessionID)
	if errors.Is(err, document.ErrNotFound) {
		return Grant{}, domain.ErrSessionEnded
	}
	if err != nil {
		return Grant{}, fmt.Errorf("reading a session: %w", err)
	}
	user, err := u.ofSession(ctx, Caller{UserID: session.UserID, SessionID: presented.SessionID})
	if err != nil {
		return Grant{}, err
	}
	session, successor, rotation, err := u.rotate(ctx, presented, user)
	switch {
	case err != nil:
		return Grant{}, fmt.Errorf("rotating a session: %w", err)
	case rotation == domain.Refused:
		return Grant{}, domain.ErrSessionEnded
	case rotation == domain.Reused:
		return Grant{}, errors.Join(ErrTokenReused, u.forgetSession(ctx, session.UserID, session.ID))
	}
	return u.Tokens.grant(u.IDs.New(), user, session, successor, u.Clock.Now())
}

// rotate applies the presented token. The decision may run again when another write came first. If the token was the newest
// at first and two successors exist by then, the same token was presented twice at the same time. The grace period is for
// that, so the token is refused but does not count as reused.
func (u Refresh) rotate(ctx context.Context, presented domain.RefreshToken, user *domain.User) (
	session *domain.Session, successor domain.RefreshToken, rotation domain.Rotation, err error,
) {
	policy, now, wasNewest := u.Tokens.policyOf(user), u.Clock.Now(), false
	session, err = u.Sessions.Update(ctx, presented.SessionID, func(s *domain.Session) error {
		if wasNewest && s.Sequence > presented.Sequence+1 {
			successor, rotation = domain.RefreshToken{}, domain.Refused
			return document.ErrUnchanged
		}
		successor, rotation = s.Rotate(presented, u.Tokens.RefreshKey, policy, now)
		wasNewest = wasNewest || rotation == domain.Rotated
		if rotation == domain.Refused || rotation == domain.Repeated {
			return document.ErrUnchanged
		}
		return nil
	})
	if err != nil { // the decision may still run, so what it sets must not be read
		return nil, domain.RefreshToken{}, domain.Refused, err
	}
	return session, successor, rotation, nil
}
