package app_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"caravan/internal/invoke"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
	users "caravan/services/users/contract"
)

// fakeTokens gives the token of one request.
type fakeTokens struct {
	asked []users.MailTokenRequest
	token users.MailToken
	err   error
}

func (f *fakeTokens) Token(_ context.Context, asked users.MailTokenRequest) (users.MailToken, error) {
	f.asked = append(f.asked, asked)
	return f.token, f.err
}

// A link has the token that users gives at this attempt. Without a valid one there is no mail, and no text shows the token.
func TestMailsWithALink(t *testing.T) {
	const token = "p1.01890000-0000-7000-8000-000000000001.secret"
	valid := users.MailToken{Token: token, Until: time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)}
	for name, c := range map[string]struct {
		kind, base string
		tokens     fakeTokens
		answer     error
		link       string
		result     domain.Result
	}{
		"reset":         {kind: "password-reset", base: "https://shop.example/", tokens: fakeTokens{token: valid}, link: "https://shop.example/reset-password#token=" + token},
		"verification":  {kind: "verify-email", base: "https://shop.example/en", tokens: fakeTokens{token: valid}, link: "https://shop.example/en/verify-email#token=" + token},
		"not valid":     {kind: "password-reset", base: "https://shop.example", result: domain.Result{Suppressed: true}},
		"no base":       {kind: "password-reset", tokens: fakeTokens{token: valid}, result: domain.Result{Suppressed: true}},
		"users is away": {kind: "password-reset", base: "https://shop.example", tokens: fakeTokens{err: &invoke.Error{Status: 503}}, result: domain.Result{Postponed: true}},
		"refused": {
			kind: "password-reset", base: "https://shop.example", tokens: fakeTokens{token: valid},
			answer: fmt.Errorf("%w: 554 spam: https://shop.example/reset-password#token=%s", app.ErrMailRefused, token), result: domain.Result{Refused: true},
		},
		"without a link": {kind: "new-sign-in", base: "https://shop.example"},
	} {
		t.Run(name, func(t *testing.T) {
			mail := &fakeMail{answer: func(app.Mail) error { return c.answer }}
			kind, _ := domain.KindNamed(c.kind)
			err := app.EmailSender{Contacts: mail, Tokens: &c.tokens, Mailer: mail, BaseURL: c.base}.Send(t.Context(), app.Message{
				ID: "m", UserID: "u1", Kind: kind, Wishes: &domain.Preferences{}, Delivery: domain.Delivery{Data: domain.Data{RequestID: "r1"}},
			})
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error has the token: %v", err)
			}
			if c.result.Suppressed || c.result.Postponed || c.result.Refused {
				if got := app.ResultOf(err); got.Suppressed != c.result.Suppressed || got.Postponed != c.result.Postponed || got.Refused != c.result.Refused {
					t.Errorf("the result is %+v of %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sent := mail.mails()[0]
			if c.link == "" {
				if len(c.tokens.asked) != 0 || strings.Contains(sent.Text, "#token") {
					t.Errorf("a token is asked for, or in the text: %s", sent.Text)
				}
				return
			}
			if want := (users.MailTokenRequest{UserID: "u1", Purpose: kind.Link, RequestID: "r1"}); len(c.tokens.asked) != 1 || c.tokens.asked[0] != want {
				t.Errorf("users is asked for %+v", c.tokens.asked)
			}
			if !strings.Contains(sent.Text, c.link+"\n") || !strings.Contains(sent.HTML, `href="`+c.link+`"`) || !strings.Contains(sent.Text, "until 1 March 2026, 12:30 (UTC).") {
				t.Errorf("the mail is\n%s\n%s", sent.Text, sent.HTML)
			}
		})
	}
}
