package adapters

import (
	"context"
	"encoding/json"
	"fmt"
	"net/mail"
	"strings"
	"unicode"

	"caravan/internal/sidecar"
	"caravan/services/notifications/app"
)

// Binder calls an output binding of the sidecar, as sidecar.Client does.
type Binder interface {
	Bind(ctx context.Context, name, operation string, data []byte, metadata map[string]string) ([]byte, error)
}

// Email is an app.Mailer over the output binding sidecar.EmailBinding.
//
// The names emailFrom, emailTo and subject, and HTML as the data, are those of Dapr's component bindings.smtp. Only the
// sidecar of this project reads the others. A stock sidecar sends the HTML part alone, without these headers, and
// reports each refusal as a failure, which is then tried again.
type Email struct {
	Sidecar Binder
	// From and ReplyTo are addresses, with or without a name. If From is "", the component's file names the sender.
	From, ReplyTo string
}

// Send implements app.Mailer. The error is an app.ErrMailRefused if the mail server refused the e-mail for ever. After any
// other error it may have been sent; another attempt has the same Message-ID.
func (e Email) Send(ctx context.Context, m app.Mail) error {
	metadata := map[string]string{
		"emailTo": address(m.ToName, m.To), "subject": m.Subject, "textBody": m.Text, "messageId": m.ID,
	}
	for name, value := range map[string]string{"emailFrom": e.From, "replyTo": e.ReplyTo, "listUnsubscribe": m.UnsubscribeURL} {
		if value != "" {
			metadata[name] = value
		}
	}
	if m.UnsubscribeURL != "" {
		metadata["listUnsubscribePost"] = "List-Unsubscribe=One-Click"
	}
	answer, err := e.Sidecar.Bind(ctx, sidecar.EmailBinding, "create", []byte(m.HTML), metadata)
	if err != nil {
		return fmt.Errorf("sending the e-mail %s: %w", m.ID, err)
	}
	var said struct {
		Refused string `json:"refused"`
	}
	// Another component may answer with data of another form, or with none.
	if json.Unmarshal(answer, &said) == nil && said.Refused != "" {
		return fmt.Errorf("%w: %s", app.ErrMailRefused, said.Refused)
	}
	return nil
}

// address is an address with a name. Semicolons separate the addresses in a request to the component, so a name has none.
func address(name, to string) string {
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == ';':
			return ','
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, name))
	if name == "" {
		return to
	}
	return (&mail.Address{Name: name, Address: to}).String()
}
