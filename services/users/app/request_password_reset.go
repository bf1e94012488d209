package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"caravan/internal/document"
	"caravan/services/users/domain"
)

// RequestPasswordReset asks for a mail that resets the password of an account.
type RequestPasswordReset struct {
	*Accounts
	Mail *MailTokens
	// Duration is how long each request takes at least. It is more than the work for a known address takes, so the time of an answer
	// does not tell whether there is an account.
	Duration time.Duration
	Log      *slog.Logger
}

// Do asks for the mail if there is an account with the address. It returns the same, after about the same time, if there is none, if
// too many mails were asked for, and if the request of a known account cannot be stored.
func (u RequestPasswordReset) Do(ctx context.Context, email domain.Email) error {
	began := u.Clock.Now()
	claim, err := u.Claims.Get(ctx, domain.ClaimID(email))
	switch {
	case err == nil:
		u.request(ctx, claim.UserID)
	case !errors.Is(err, document.ErrNotFound):
		return fmt.Errorf("reading the claim of an address: %w", err) // whether there is an account or not
	}
	return u.Clock.Sleep(ctx, u.Duration-u.Clock.Now().Sub(began))
}

func (u RequestPasswordReset) request(ctx context.Context, userID string) {
	now := u.Clock.Now()
	request, err := u.Mail.request(u.IDs.New(), u.Mail.ResetTTL, now)
	if err == nil {
		_, err = u.Users.Update(ctx, userID, func(user *domain.User) error { return user.RequestPasswordReset(request, now) })
	}
	var early *domain.TooSoonError
	switch {
	case errors.Is(err, domain.ErrNoUser): // a registration was interrupted
	case errors.As(err, &early):
		u.Log.InfoContext(ctx, "too many resets of a password were asked for; no mail is sent", "user", userID)
	case err != nil:
		u.Log.WarnContext(ctx, "a reset of a password was asked for and could not be stored", "user", userID, "error", err)
	}
}
