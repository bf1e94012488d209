package app

import (
	"context"
	"errors"
)

// Mail is one e-mail.
type Mail struct {
	// ID is the id of the delivery. It becomes the Message-ID, so that the same mail has the same id on each attempt.
	ID                              string
	To, ToName, Subject, Text, HTML string
	// UnsubscribeURL may be "". It becomes List-Unsubscribe and List-Unsubscribe-Post (RFC 8058).
	UnsubscribeURL string
}

// Mailer sends e-mails. Its error is ErrMailRefused when the server refused the mail for ever (SMTP 5xx). Any other error may pass.
type Mailer interface {
	Send(ctx context.Context, m Mail) error
}

// ErrMailRefused says that a mail can never be sent.
var ErrMailRefused = errors.New("the mail was refused")
