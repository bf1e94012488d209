package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"caravan/services/notifications/domain"
	users "caravan/services/users/contract"
)

// Contacts says how users can be reached.
type Contacts interface {
	// Contact returns false for a user who does not exist.
	Contact(ctx context.Context, userID string) (users.Contact, bool, error)
}

// MailTokens gives the tokens in the links of mails.
type MailTokens interface {
	// Token returns an empty token if it is not valid any more.
	Token(ctx context.Context, asked users.MailTokenRequest) (users.MailToken, error)
}

// EmailSender is the Sender of the channel e-mail. It asks for the name and the address of the person, and for the token in a link,
// when it sends, and keeps none of them.
type EmailSender struct {
	Contacts Contacts
	Tokens   MailTokens
	Mailer   Mailer
	// BaseURL is the address of the shop, for links.
	BaseURL string
	// Unsubscribe has the links that switch mails off.
	Unsubscribe UnsubscribeLinks
}

// Send implements Sender.
func (s EmailSender) Send(ctx context.Context, m Message) error {
	contact, found, err := s.Contacts.Contact(ctx, m.UserID)
	switch {
	case err != nil:
		return Postponed(err)
	case !found || contact.Email == "":
		return Refused(errors.New("the user has no address"))
	}
	unsubscribe := s.Unsubscribe.Of(m, domain.Email)
	frame := domain.MailFrame{
		Name: contact.Name, BaseURL: s.BaseURL, UnsubscribeURL: unsubscribe, At: m.Delivery.OccurredAt.In(m.Wishes.Location()),
	}
	token, err := s.link(ctx, m, &frame)
	if err != nil {
		return err
	}
	content, err := domain.RenderMail(m.Kind, m.Wishes.Language(), m.Delivery.Data, frame)
	if err != nil {
		return Refused(fmt.Errorf("rendering %s: %w", m.Kind.Name, err))
	}
	err = s.Mailer.Send(ctx, Mail{
		ID: m.ID, To: contact.Email, ToName: contact.Name, Subject: content.Subject, Text: content.Text, HTML: content.HTML,
		UnsubscribeURL: unsubscribe,
	})
	if err == nil {
		return nil
	}
	impersonal := errors.New(withoutContact(withoutToken(err.Error(), token), contact))
	if errors.Is(err, ErrMailRefused) {
		return Refused(impersonal)
	}
	return impersonal
}

// pages are the pages of the shop that take the token of a link, by purpose.
var pages = map[string]string{users.PurposeVerification: "verify-email", users.PurposePasswordReset: "reset-password"}

// link adds the link of a kind that has one, and returns its token. The token is after a #, which browsers send to nobody.
func (s EmailSender) link(ctx context.Context, m Message, frame *domain.MailFrame) (token string, err error) {
	if m.Kind.Link == "" {
		return "", nil
	}
	page, err := url.JoinPath(s.BaseURL, pages[m.Kind.Link])
	if s.BaseURL == "" || err != nil {
		return "", Suppressed("a link needs email.base_url")
	}
	issued, err := s.Tokens.Token(ctx, users.MailTokenRequest{UserID: m.UserID, Purpose: m.Kind.Link, RequestID: m.Delivery.Data.RequestID})
	switch {
	case err != nil:
		return "", Postponed(err)
	case issued.Token == "":
		return "", Suppressed("the link is not valid any more: it was used, replaced, or has expired")
	}
	frame.LinkURL, frame.LinkUntil = page+"#token="+url.QueryEscape(issued.Token), issued.Until.In(m.Wishes.Location())
	return issued.Token, nil
}

// withoutToken removes the token from the text of a mail server, which may repeat a link.
func withoutToken(reason, token string) string {
	if token == "" {
		return reason
	}
	return strings.ReplaceAll(reason, token, "[token]")
}

// reasonMax bounds the reason of a failure, in characters.
const reasonMax = 300

// addresses finds everything that looks like an address.
var addresses = regexp.MustCompile(`[^\s<>"'(),;:]+@[^\s<>"'(),;:]+`)

// withoutContact removes the personal data from the text of a mail server, which likes to repeat it.
func withoutContact(reason string, contact users.Contact) string {
	reason = strings.ReplaceAll(reason, contact.Email, "[address]")
	reason = addresses.ReplaceAllString(reason, "[address]")
	local, _, _ := strings.Cut(contact.Email, "@")
	for _, personal := range []string{contact.Name, local} {
		if personal != "" {
			reason = regexp.MustCompile(`(?i)(^|[^\pL\pN])`+regexp.QuoteMeta(personal)+`($|[^\pL\pN])`).ReplaceAllString(reason, "${1}[name]${2}")
		}
	}
	return printable(reason)
}

// printable makes a text of another program fit for one line of a list.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, " "))
	if runes := []rune(s); len(runes) > reasonMax {
		s = string(runes[:reasonMax-1]) + "…"
	}
	return strings.Join(strings.Fields(s), " ")
}
