package app

import (
	"context"
	"fmt"

	"caravan/internal/document"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// LogOut ends the caller's session.
type LogOut struct{ *Accounts }

// Do ends the session. Ending it again changes nothing.
func (u LogOut) Do(ctx context.Context, caller Caller) error {
	now := u.Clock.Now()
	_, err := u.Sessions.Update(ctx, caller.SessionID, func(s *domain.Session) error {
		if s.UserID != caller.UserID {
			return document.ErrUnchanged
		}
		return s.Revoke(contract.RevokedLoggedOut, now)
	})
	if err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	return u.forgetSession(ctx, caller.UserID, caller.SessionID)
}
