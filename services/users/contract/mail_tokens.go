package contract

import (
	"context"
	"fmt"
	"time"

	"caravan/internal/invoke"
)

// AppMailer is the app that sends mails. Only it may call [PathContacts], [PathMailToken] and [PathStaff].
const AppMailer = "notifications"

// PathMailToken takes [MailTokenRequest] and answers [MailToken]. The app that sends a mail asks for its token when it sends. It
// neither stores nor logs it.
const PathMailToken = "/internal/mail-token"

// The purposes of tokens in mails.
const (
	PurposeVerification  = "verification"   // confirms that the address of an account belongs to its owner
	PurposePasswordReset = "password-reset" // allows to set a new password
)

// MailTokenRequest asks for the token of a request for a mail: that of an event [EventVerificationRequested] or
// [EventPasswordResetRequested].
type MailTokenRequest struct {
	UserID    string `json:"userId" validate:"required,max=64"`
	Purpose   string `json:"purpose" validate:"required,oneof=verification password-reset"`
	RequestID string `json:"requestId" validate:"required,max=64"`
}

// MailToken is the token of a request. It is the same each time while it is valid. Token is "" if it is not valid any more: it was
// used, has expired, or a later request has replaced it.
type MailToken struct {
	Token string    `json:"token,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

// MailTokens asks users for tokens. It is safe for concurrent use.
type MailTokens struct {
	Invoker invoke.Invoker
}

// Token returns the token of a request. An error that matches invoke.ErrUnavailable may pass.
func (m MailTokens) Token(ctx context.Context, asked MailTokenRequest) (MailToken, error) {
	var answer MailToken
	if err := m.Invoker.Invoke(ctx, App, PathMailToken, asked, &answer); err != nil {
		return MailToken{}, fmt.Errorf("asking for the token of a mail: %w", err)
	}
	return answer, nil
}
