package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/services/users/domain"
)

// ErrTokenReused says that a used refresh token came back and its session was ended for it. Clients are told no more
// than that the session has ended; it wraps domain.ErrSessionEnded.
var ErrTokenReused = fmt.Errorf("refresh token was used before: %w", domain.ErrSessionEnded)

// Refresh continues a session: it takes its newest refresh token and gives the next one with an access token that says
// what the account may do now. Its error is domain.ErrRefreshToken or domain.ErrSessionEnded.
func (a *Accounts) Refresh(ctx context.Context, raw string) (Grant, error) {
	presented, err := domain.ParseRefreshToken(raw)
	if err != nil {
		return Grant{}, err
	}
	user, err := a.ownerOf(ctx, presented.SessionID)
	if err != nil {
		return Grant{}, err
	}
	now := a.Clock.Now()
	if !user.HasSession(presented.SessionID, now) {
		return Grant{}, domain.ErrSessionEnded
	}
	session, successor, rotation, err := a.rotate(ctx, presented, user)
	switch {
	case err != nil:
		return Grant{}, fmt.Errorf("rotating a session: %w", err)
	case rotation == domain.Refused:
		return Grant{}, domain.ErrSessionEnded
	case rotation == domain.Reused:
		return Grant{}, errors.Join(ErrTokenReused, a.strikeOff(ctx, session))
	}
	return a.grant(user, session, successor, now)
}

func (a *Accounts) ownerOf(ctx context.Context, sessionID string) (*domain.User, error) {
	session, err := a.Sessions.Get(ctx, sessionID)
	if errors.Is(err, document.ErrNotFound) {
		return nil, domain.ErrSessionEnded
	}
	if err != nil {
		return nil, fmt.Errorf("reading a session: %w", err)
	}
	user, err := a.userByID(ctx, session.UserID)
	if errors.Is(err, domain.ErrNoUser) {
		return nil, domain.ErrSessionEnded
	}
	return user, err
}

// rotate applies the presented token. The decision may run again when its write raced with another's: if the token was
// the newest at first and two successors exist by then, the same token was presented twice at once, which the grace
// period is for, so it is refused but does not count as reuse.
func (a *Accounts) rotate(ctx context.Context, presented domain.RefreshToken, user *domain.User) (
	session *domain.Session, successor domain.RefreshToken, rotation domain.Rotation, err error,
) {
	policy, now, wasNewest := a.sessionPolicy(user), a.Clock.Now(), false
	session, err = a.Sessions.Update(ctx, presented.SessionID, func(s *domain.Session) error {
		if wasNewest && s.Sequence > presented.Sequence+1 {
			successor, rotation = domain.RefreshToken{}, domain.Refused
			return document.ErrUnchanged
		}
		successor, rotation = s.Rotate(presented, a.RefreshKey, policy, now)
		wasNewest = wasNewest || rotation == domain.Rotated
		if rotation == domain.Refused || rotation == domain.Repeated {
			return document.ErrUnchanged
		}
		return nil
	})
	if err != nil { // the decision may still be running: leave what it sets alone
		return nil, domain.RefreshToken{}, domain.Refused, err
	}
	return session, successor, rotation, nil
}

// strikeOff removes an ended session from its account's list.
func (a *Accounts) strikeOff(ctx context.Context, session *domain.Session) error {
	_, err := a.Users.Update(ctx, session.UserID, func(u *domain.User) error { return u.CloseSession(session.ID) })
	if err != nil {
		return fmt.Errorf("striking off a session: %w", err)
	}
	return nil
}
