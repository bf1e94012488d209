package adapters_test

import (
	"fmt"
	"strings"
	"testing"

	"caravan/internal/problem"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// mailed reads the event that asks for the newest mail of a kind, and gets its token as the app that sends the mail does.
func (c *client) mailed(userID, event, purpose string) contract.MailToken {
	c.t.Helper()
	user, err := c.accounts.Users.Get(c.t.Context(), userID)
	if err != nil {
		c.t.Fatal(err)
	}
	var asked contract.MailRequested
	for _, e := range user.Timeline {
		if e.Type == event {
			if err := e.Decode(&asked); err != nil || asked.UserID != userID {
				c.t.Fatalf("the event is %s: %v", e.Data, err)
			}
		}
	}
	var token contract.MailToken
	c.called(200, contract.AppMailer, contract.PathMailToken,
		fmt.Sprintf(`{"userId":%q,"purpose":%q,"requestId":%q}`, userID, purpose, asked.RequestID), &token)
	if strings.Contains(fmt.Sprintf("%+v", *user), token.Token) && token.Token != "" {
		c.t.Errorf("the account contains the token")
	}
	return token
}

// contact is how a user can be reached, as the app that sends mails gets it.
func (c *client) contact(userID string) contract.Contact {
	c.t.Helper()
	var contacts []contract.Contact
	c.called(200, contract.AppMailer, contract.PathContacts, fmt.Sprintf(`{"userIds":[%q]}`, userID), &contacts)
	if len(contacts) != 1 {
		c.t.Fatalf("the contacts of a user are %+v", contacts)
	}
	return contacts[0]
}

func (c *client) refused(path, body, field string) {
	c.t.Helper()
	var p problem.Problem
	c.send(400, "POST", path, "", body, &p)
	if len(p.Errors) != 1 || p.Errors[0].Field != field {
		c.t.Errorf("%s names %+v; want %s", path, p.Errors, field)
	}
}

func TestVerification(t *testing.T) {
	c := newClient(t)
	ada := c.register("ada@example.com")
	bearer := c.logIn("ada@example.com", secret).AccessToken
	var me struct{ EmailVerified bool }
	c.send(200, "GET", "/v1/users/me", bearer, "", &me)
	if me.EmailVerified {
		t.Error("the address is verified at once")
	}
	contact := c.contact(ada.ID)
	if want := (contract.Contact{UserID: ada.ID, Email: "ada@example.com"}); contact != want {
		t.Errorf("the contact with an address that is not verified is %+v; want %+v", contact, want)
	}
	first := c.mailed(ada.ID, contract.EventVerificationRequested, contract.PurposeVerification)
	c.send(202, "POST", "/v1/users/me/verification", bearer, "", nil)
	c.send(429, "POST", "/v1/users/me/verification", bearer, "", nil)
	c.refused("/v1/verifications", fmt.Sprintf(`{"token":%q}`, first.Token), "token") // it is replaced
	token := c.mailed(ada.ID, contract.EventVerificationRequested, contract.PurposeVerification)
	if again := c.mailed(ada.ID, contract.EventVerificationRequested, contract.PurposeVerification); again != token || token.Token == "" {
		t.Errorf("another attempt to send has %v, and not %v", again, token)
	}
	forged := domain.MailKey("forged").Token(contract.PurposeVerification, ada.ID, domain.MailRequest{}).String()
	for _, wrong := range []string{"x", forged, token.Token + "A", strings.Replace(token.Token, "v1.", "p1.", 1)} {
		c.refused("/v1/verifications", fmt.Sprintf(`{"token":%q}`, wrong), "token")
	}
	c.send(204, "POST", "/v1/verifications", "", fmt.Sprintf(`{"token":%q}`, token.Token), nil)
	c.refused("/v1/verifications", fmt.Sprintf(`{"token":%q}`, token.Token), "token")
	c.send(200, "GET", "/v1/users/me", bearer, "", &me)
	if !me.EmailVerified {
		t.Error("the address is not verified")
	}
	contact.Name = string(ada.Name)
	if got := c.contact(ada.ID); got != contact || got.Name == "" {
		t.Errorf("the contact with a verified address is %+v; want %+v", got, contact)
	}
	c.send(409, "POST", "/v1/users/me/verification", bearer, "", nil)
	c.send(401, "POST", "/v1/users/me/verification", "", "", nil)
	if token := c.mailed(ada.ID, contract.EventVerificationRequested, contract.PurposeVerification); token.Token != "" {
		t.Errorf("a mail that is sent now has %v", token)
	}
}

func TestPasswordReset(t *testing.T) {
	c := newClient(t)
	ada := c.register("ada@example.com")
	before := c.logIn("ada@example.com", secret)
	const fresh = "a quite different one"
	confirm := func(token, password string) string { return fmt.Sprintf(`{"token":%q,"password":%q}`, token, password) }

	known := c.send(202, "POST", "/v1/password-resets", "", `{"email":"ada@example.com"}`, nil)
	unknown := c.send(202, "POST", "/v1/password-resets", "", `{"email":"nobody@example.com"}`, nil)
	often := c.send(202, "POST", "/v1/password-resets", "", `{"email":"ada@example.com"}`, nil)
	if known.Body.String() != unknown.Body.String() || known.Body.String() != often.Body.String() {
		t.Errorf("a known address answers %s, an unknown one %s, the second time %s", known.Body, unknown.Body, often.Body)
	}
	c.refused("/v1/password-resets", `{"email":"x"}`, "email")
	token := c.mailed(ada.ID, contract.EventPasswordResetRequested, contract.PurposePasswordReset).Token
	c.refused("/v1/password-resets/confirm", confirm("p1.x.y", fresh), "token")
	c.refused("/v1/password-resets/confirm", confirm(token, "short"), "password")
	c.refused("/v1/password-resets/confirm", confirm(token, "ada@example.com"), "password")
	c.send(204, "POST", "/v1/password-resets/confirm", "", confirm(token, fresh), nil)
	c.refused("/v1/password-resets/confirm", confirm(token, "another good one"), "token")
	c.send(401, "POST", "/v1/sessions", "", fmt.Sprintf(`{"email":"ada@example.com","password":%q}`, secret), nil)
	c.send(401, "POST", "/v1/sessions/refresh", "", fmt.Sprintf(`{"refreshToken":%q}`, before.RefreshToken), nil)
	c.logIn("ada@example.com", fresh)
}

// Only the app that sends mails learns addresses, tokens and who is staff.
func TestOnlyTheMailerAsks(t *testing.T) {
	c := newClient(t)
	for _, path := range []string{contract.PathContacts, contract.PathMailToken, contract.PathStaff} {
		for _, from := range []string{"", "orders", "gateway", "notifications2"} {
			c.called(403, from, path, `{"userIds":[]}`, nil)
		}
	}
	c.called(400, contract.AppMailer, contract.PathMailToken, `{"userId":"u","purpose":"other","requestId":"r"}`, nil)
}
