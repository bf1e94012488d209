package app

import (
	"context"
	"fmt"

	"caravan/internal/document"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// LogOut ends the session that asks. Ending it again changes nothing.
func (a *Accounts) LogOut(ctx context.Context, caller Caller) error {
	now := a.Clock.Now()
	_, err := a.Sessions.Update(ctx, caller.SessionID, func(s *domain.Session) error {
		if s.UserID != caller.UserID {
			return document.ErrUnchanged
		}
		return s.Revoke(contract.RevokedLoggedOut, now)
	})
	if err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	return a.strikeOff(ctx, &domain.Session{ID: caller.SessionID, UserID: caller.UserID})
}
