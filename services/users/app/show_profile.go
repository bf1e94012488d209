package app

import (
	"context"

	"caravan/services/users/domain"
)

// ShowProfile shows callers their account.
type ShowProfile struct{ *Accounts }

// Do returns the account. Its error is domain.ErrNoUser.
func (u ShowProfile) Do(ctx context.Context, caller Caller) (*domain.User, error) {
	return u.byID(ctx, caller.UserID)
}
