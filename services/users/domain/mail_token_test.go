package domain_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

const userID = "01890000-0000-7000-8000-000000000001"

var mailKey = domain.MailKey(strings.Repeat("m", 32))

func TestMailTokensHaveOneForm(t *testing.T) {
	request := domain.MailRequest{ID: "r", Nonce: []byte("nonce")}
	token := mailKey.Token(contract.PurposeVerification, userID, request)
	raw := token.String()
	if got, err := domain.ParseMailToken(contract.PurposeVerification, raw); err != nil || got != token || len(raw) > domain.MaxMailTokenLength {
		t.Errorf("%s is %+v, %v", raw, got, err)
	}
	for _, wrong := range []string{
		"", raw + ".", raw + "A", raw[:len(raw)-1], raw + "\n", "p1" + raw[2:], "V1" + raw[2:], strings.Replace(raw, userID, "u", 1),
		raw[:len(raw)-1] + "_", strings.Repeat("v", 1000), "v1.." + raw,
	} {
		if wrong == raw {
			continue
		}
		if got, err := domain.ParseMailToken(contract.PurposeVerification, wrong); !errors.Is(err, domain.ErrMailToken) {
			t.Errorf("%q is %+v, %v", wrong, got, err)
		}
	}
	// Everything that a token is for makes another one.
	for name, other := range map[string]domain.MailToken{
		"purpose": mailKey.Token(contract.PurposePasswordReset, userID, request),
		"user":    mailKey.Token(contract.PurposeVerification, id.Random{}.New(), request),
		"request": mailKey.Token(contract.PurposeVerification, userID, domain.MailRequest{ID: "s", Nonce: request.Nonce}),
		"nonce":   mailKey.Token(contract.PurposeVerification, userID, domain.MailRequest{ID: "r", Nonce: []byte("other")}),
		"key":     domain.MailKey("other").Token(contract.PurposeVerification, userID, request),
	} {
		if other.Secret == token.Secret {
			t.Errorf("another %s has the same token", name)
		}
	}
}

func FuzzParseMailToken(f *testing.F) {
	f.Add(mailKey.Token(contract.PurposePasswordReset, userID, domain.MailRequest{}).String())
	f.Fuzz(func(t *testing.T, raw string) {
		if token, err := domain.ParseMailToken(contract.PurposePasswordReset, raw); err == nil && token.String() != raw {
			t.Errorf("%q is read as %s", raw, token)
		}
	})
}

// tokens is a model of the tokens of one account: what a person may do with those that they got.
type tokens struct {
	user     *domain.User
	now      time.Time
	made     int
	issued   []issued
	verified bool
	password string
	sessions int
}

// issued is a token that was in a mail.
type issued struct {
	purpose, request string
	token            domain.MailToken
	until            time.Time
	dead             bool // used, or replaced
}

var purposes = []string{contract.PurposeVerification, contract.PurposePasswordReset}

func (m *tokens) kill(purpose string) {
	for i := range m.issued {
		if m.issued[i].purpose == purpose {
			m.issued[i].dead = true
		}
	}
}

// ask asks for a mail, and sends it if that is granted.
func (m *tokens) ask(t *rapid.T, purpose string) {
	m.made++
	next := domain.NewMailRequest{ID: fmt.Sprint("request ", m.made), Nonce: fmt.Append(nil, "nonce ", m.made), Until: m.now.Add(30 * time.Minute)}
	ask := m.user.RequestPasswordReset
	if purpose == contract.PurposeVerification {
		ask = m.user.RequestVerification
	}
	before := len(m.user.Timeline)
	err := ask(next, m.now)
	var early *domain.TooSoonError
	switch {
	case errors.As(err, &early):
		if early.Wait <= 0 || early.Wait > time.Hour {
			t.Fatalf("wait %s", early.Wait)
		}
		return
	case errors.Is(err, domain.ErrVerified):
		if purpose != contract.PurposeVerification || !m.verified {
			t.Fatalf("%s: %v", purpose, err)
		}
		return
	case err != nil:
		t.Fatal(err)
	}
	if len(m.user.Timeline) != before+1 {
		t.Fatalf("%d events", len(m.user.Timeline)-before)
	}
	if err := ask(next, m.now); !errors.Is(err, document.ErrUnchanged) && !errors.Is(err, domain.ErrVerified) {
		t.Fatalf("a repeat of the write: %v", err)
	}
	m.kill(purpose)
	token, until, ok := m.user.MailToken(purpose, next.ID, mailKey, m.now)
	if !ok || !until.Equal(next.Until) {
		t.Fatalf("the mail has no token")
	}
	m.issued = append(m.issued, issued{purpose, next.ID, token, until, false})
}

// use presents a token for a purpose.
func (m *tokens) use(t *rapid.T, i int, purpose string) {
	given := m.issued[i]
	m.made++
	by := fmt.Sprint("operation ", m.made)
	token, err := domain.ParseMailToken(purpose, given.token.String())
	if err == nil {
		if purpose == contract.PurposeVerification {
			err = m.user.VerifyEmail(token, mailKey, by, m.now)
		} else {
			err = m.user.ResetPassword(token, mailKey, by, by, m.now)
		}
	}
	valid := purpose == given.purpose && !given.dead && m.now.Before(given.until)
	if valid != (err == nil) || err != nil && !errors.Is(err, domain.ErrMailToken) {
		t.Fatalf("using %+v for %s at %s is %v; want %t", given, purpose, m.now, err, valid)
	}
	if !valid {
		return
	}
	m.issued[i].dead, m.verified = true, true
	if purpose == contract.PurposePasswordReset {
		m.password, m.sessions = by, 0
		if err := m.user.ResetPassword(token, mailKey, by, by, m.now); !errors.Is(err, document.ErrUnchanged) {
			t.Fatalf("a repeat of the write: %v", err)
		}
	}
}

// TestTokensOfMails: in any order of requests, uses, logins, changes of the password and pauses, a token is valid once, until it
// expires or is replaced, and only for its purpose.
func TestTokensOfMails(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &tokens{user: &domain.User{}, now: start, password: hash}
		if err := m.user.Register(domain.Registration{ID: userID, Email: "ada@example.com", PasswordHash: hash, ListedAs: "x"}, start); err != nil {
			t.Fatal(err)
		}
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) { m.ask(t, rapid.SampledFrom(purposes).Draw(t, "purpose")) },
			"use": func(t *rapid.T) {
				if len(m.issued) == 0 {
					t.Skip("no mail was sent")
				}
				m.use(t, rapid.IntRange(0, len(m.issued)-1).Draw(t, "token"), rapid.SampledFrom(purposes).Draw(t, "purpose"))
			},
			"wait": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 45).Draw(t, "minutes")) * time.Minute)
			},
			"log in": func(t *rapid.T) {
				m.made++
				session := domain.OpenSession{ID: fmt.Sprint("session ", m.made), OpenedAt: m.now, Until: m.now.Add(1000 * time.Hour)}
				if err := m.user.OpenSession(session, m.password, "", "", m.now); err != nil {
					t.Fatal(err)
				}
				m.sessions = min(m.sessions+1, domain.MaxSessions)
			},
			"change the password": func(t *rapid.T) {
				if m.sessions == 0 {
					t.Skip("nobody is logged in")
				}
				m.made++
				fresh := fmt.Sprint("password ", m.made)
				if err := m.user.ChangePassword(m.password, fresh, m.user.Sessions[0].ID, m.now); err != nil {
					t.Fatal(err)
				}
				m.password, m.sessions = fresh, 1
				m.kill(contract.PurposePasswordReset)
			},
			"": func(t *rapid.T) { m.check(t) },
		})
	})
}

func (m *tokens) check(t *rapid.T) {
	u := m.user
	if u.EmailVerified() != m.verified || u.PasswordHash != m.password || len(u.Sessions) != m.sessions {
		t.Fatalf("verified %t, password %s, %d sessions; want %t, %s, %d", u.EmailVerified(), u.PasswordHash, len(u.Sessions), m.verified, m.password, m.sessions)
	}
	if len(u.Verification.Recent) > 5 || len(u.PasswordReset.Recent) > 5 {
		t.Fatalf("it remembers %d and %d requests", len(u.Verification.Recent), len(u.PasswordReset.Recent))
	}
	for _, given := range m.issued {
		token, _, ok := u.MailToken(given.purpose, given.request, mailKey, m.now)
		valid := !given.dead && m.now.Before(given.until) && !(given.purpose == contract.PurposeVerification && m.verified)
		if ok != valid || ok && token != given.token {
			t.Fatalf("another attempt to send %+v has %v, %t; want %t", given, token, ok, valid)
		}
	}
	for _, e := range u.Timeline {
		for _, given := range m.issued {
			if strings.Contains(string(e.Data), given.token.Secret) {
				t.Fatalf("an event contains a token: %s", e.Data)
			}
		}
	}
}

// An address can be asked for five mails in an hour, one a minute.
func TestRequestsOfMailsAreLimited(t *testing.T) {
	user := registered(t, contract.RoleCustomer)
	var granted []int
	for minute := range 130 {
		for n := range 3 {
			next := domain.NewMailRequest{ID: fmt.Sprint(minute, n), Until: start.Add(24 * time.Hour)}
			if user.RequestPasswordReset(next, start.Add(time.Duration(minute)*time.Minute)) == nil {
				granted = append(granted, minute)
			}
		}
	}
	if want := []int{0, 1, 2, 3, 4, 60, 61, 62, 63, 64, 120, 121, 122, 123, 124}; fmt.Sprint(granted) != fmt.Sprint(want) {
		t.Errorf("mails at %v; want %v", granted, want)
	}
}
