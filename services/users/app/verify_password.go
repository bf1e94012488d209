package app

import (
	"context"

	"caravan/services/users/domain"
)

// verifyPassword compares a password with a hash, or with none if encoded is empty. Hashes are of normalized passwords.
// Those from before that was so are of what was typed then, so what is typed now is compared as well if it differs: a
// wrong password then takes the work of two, whether there is an account or not. A match with the form that was typed is
// outdated.
func (a *Accounts) verifyPassword(ctx context.Context, encoded, typed string) (Verdict, error) {
	normalized := domain.NormalizePassword(typed)
	verdict, err := a.Passwords.Verify(ctx, encoded, normalized)
	if err != nil || verdict.Match || normalized == typed {
		return verdict, err
	}
	verdict, err = a.Passwords.Verify(ctx, encoded, typed)
	verdict.Outdated = true
	return verdict, err
}
