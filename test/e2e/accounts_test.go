package e2e

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/internal/id"
)

// The paths of accounts that need mail.
const (
	verifications = "/v1/verifications"
	resets        = "/v1/password-resets"
)

// link is the token in the link of an e-mail.
var link = regexp.MustCompile(`#token=(\S+)`)

// mailedToken waits for the n-th e-mail with such a subject, and returns the token in the newest.
func (c *customer) mailedToken(t *testing.T, subject string, n int) string {
	t.Helper()
	raw, err := fetch(t.Context(), c.shop.stack.mailServer(t)+"/mails/"+c.mailed(t, subject, n)[0].ID)
	var mail struct {
		Text string `json:"text"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &mail)
	}
	found := link.FindStringSubmatch(mail.Text)
	if err != nil || found == nil {
		t.Fatalf("the e-mail has no link: %v\n%s", err, mail.Text)
	}
	return found[1]
}

func (c *customer) verified() bool {
	var me struct {
		EmailVerified bool `json:"emailVerified"`
	}
	c.get("/v1/users/me", &me)
	return me.EmailVerified
}

// TestAccounts follows an account through its e-mails: it verifies its address, resets its password, and logs in on a new device.
func TestAccounts(t *testing.T) {
	s := shared(t)
	s.mailServer(t)
	sh := open(t, s)
	c, visitor := sh.customer(0), newClient(t, s, sh.trail)

	first := c.mailedToken(t, "confirm your e-mail address", 1)
	c.must(http.StatusAccepted, http.MethodPost, "/v1/users/me/verification", nil, nil)
	token := c.mailedToken(t, "confirm your e-mail address", 2)
	visitor.must(http.StatusBadRequest, http.MethodPost, verifications, map[string]string{"token": first}, nil)
	if c.verified() {
		t.Error("the address is verified before the newest e-mail is read")
	}
	visitor.must(http.StatusNoContent, http.MethodPost, verifications, map[string]string{"token": token}, nil)
	used := visitor.must(http.StatusBadRequest, http.MethodPost, verifications, map[string]string{"token": token}, nil)
	forged := visitor.must(http.StatusBadRequest, http.MethodPost, verifications, map[string]string{"token": "v1." + c.id + "." + strings.Repeat("A", 43)}, nil)
	if used.problem(t).Errors[0] != forged.problem(t).Errors[0] || used.problem(t).Errors[0].Field != "token" {
		t.Errorf("a used token answers %s, a forged one %s", used, forged)
	}
	if !c.verified() {
		t.Error("the address is not verified")
	}

	before, known := c.session, time.Now()
	asked := visitor.must(http.StatusAccepted, http.MethodPost, resets, map[string]string{"email": c.email}, nil)
	unknown := time.Now()
	nobody := visitor.must(http.StatusAccepted, http.MethodPost, resets, map[string]string{"email": "no" + c.email}, nil)
	if string(asked.body) != string(nobody.body) {
		t.Errorf("a known address answers %s, an unknown one %s", asked, nobody)
	}
	t.Logf("a known address took %s, an unknown one %s", unknown.Sub(known), time.Since(unknown))
	reset := c.mailedToken(t, "Choose a new password", 1)
	fresh := "quite another one " + id.Random{}.New()
	confirm := map[string]string{"token": reset, "password": fresh}
	visitor.must(http.StatusNoContent, http.MethodPost, resets+"/confirm", confirm, nil)
	visitor.must(http.StatusBadRequest, http.MethodPost, resets+"/confirm", confirm, nil)
	old := map[string]string{"email": c.email, "password": c.password}
	visitor.must(http.StatusUnauthorized, http.MethodPost, "/v1/sessions", old, nil)
	visitor.must(http.StatusUnauthorized, http.MethodPost, "/v1/sessions/refresh", map[string]string{"refreshToken": before.RefreshToken}, nil)
	c.password, c.expires = fresh, time.Time{}
	c.fact("users.password_changed.v1")
	c.mailed(t, "Your password was changed", 1)

	const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
	for _, agent := range []string{firefox, strings.ReplaceAll(firefox, "145", "146")} { // an update is not another device
		visitor.must(http.StatusCreated, http.MethodPost, "/v1/sessions", map[string]string{"email": c.email, "password": fresh}, nil, header{"User-Agent", agent})
	}
	c.fact("users.signed_in.v1")
	c.mailed(t, "New sign-in", 1)

	lines, err := s.LogLines(t.Context(), func(l launcher.LogLine) bool {
		return slices.ContainsFunc([]string{token, reset}, func(secret string) bool { return strings.Contains(l.Raw, secret) })
	})
	if err != nil || len(lines) > 0 {
		t.Errorf("the logs contain a token: %+v, %v", lines, err)
	}
}

// fact says that the inbox of a customer gets an entry about an account.
func (c *customer) fact(typ string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told == nil {
		c.told = make(map[string]int)
	}
	c.told[typ+" "+c.id]++
}

// verification asks for the e-mail to verify an address that is verified.
func (r *refused) verification(t *testing.T) {
	c := r.shop.customer(0)
	token := map[string]string{"token": c.mailedToken(t, "confirm your e-mail address", 1)}
	r.visitor.must(http.StatusNoContent, http.MethodPost, verifications, token, nil)
	c.must(http.StatusConflict, http.MethodPost, "/v1/users/me/verification", nil, nil)
}
