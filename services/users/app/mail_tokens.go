package app

import (
	"fmt"
	"io"
	"time"

	"caravan/services/users/domain"
)

// MailTokens makes the tokens in mails.
type MailTokens struct {
	Key    domain.MailKey
	Random io.Reader // cryptographically secure
	// VerificationTTL and ResetTTL are the lifetimes of tokens, from the request on.
	VerificationTTL, ResetTTL time.Duration
}

// request makes a request for a mail whose token has a lifetime.
func (t *MailTokens) request(id string, lifetime time.Duration, now time.Time) (domain.NewMailRequest, error) {
	nonce := make([]byte, 32)
	if _, err := io.ReadFull(t.Random, nonce); err != nil {
		return domain.NewMailRequest{}, fmt.Errorf("reading randomness: %w", err)
	}
	return domain.NewMailRequest{ID: id, Nonce: nonce, Until: now.Add(lifetime)}, nil
}
