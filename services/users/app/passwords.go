package app

import (
	"context"

	"caravan/services/users/domain"
)

// Passwords hashes passwords slowly. Both methods may return an error that asks to try later, when too many passwords are
// being hashed.
type Passwords interface {
	Hash(ctx context.Context, password string) (encoded string, err error)
	// Verify takes the same time for each outcome. An empty encoded is the hash of a password that nobody has.
	Verify(ctx context.Context, encoded, password string) (Verdict, error)
}

// Verdict is the outcome of comparing a password.
type Verdict struct {
	Match    bool
	Outdated bool // the password should be hashed again
}

// passwordAttempts is how often a password is verified again because it was changed at the same time.
const passwordAttempts = 3

// verify compares a password with a hash, or with none if encoded is empty. Hashes are of normalized passwords, and older
// ones of what was typed. So what is typed is compared as well if it differs: a wrong password then takes the work of two,
// whether there is an account or not. A match with what was typed is outdated.
func verify(ctx context.Context, passwords Passwords, encoded, typed string) (Verdict, error) {
	normalized := string(domain.NormalizePassword(typed))
	verdict, err := passwords.Verify(ctx, encoded, normalized)
	if err != nil || verdict.Match || normalized == typed {
		return verdict, err
	}
	verdict, err = passwords.Verify(ctx, encoded, typed)
	verdict.Outdated = true
	return verdict, err
}
