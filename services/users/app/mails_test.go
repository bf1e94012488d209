package app_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/services/users/app"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// mailed is the token in the newest mail of a kind: the last event asks for it.
func (w *world) mailed(t *testing.T, userID, typ, purpose string) string {
	t.Helper()
	var asked contract.MailRequested
	for _, e := range w.events(t, "user/"+userID) {
		if e.Type == typ {
			if err := e.Decode(&asked); err != nil {
				t.Fatal(err)
			}
		}
	}
	token, err := w.IssueMailToken.Do(t.Context(), contract.MailTokenRequest{UserID: userID, Purpose: purpose, RequestID: asked.RequestID})
	if err != nil {
		t.Fatal(err)
	}
	return token.Token
}

func (w *world) resetMail(t *testing.T, user *domain.User) string {
	t.Helper()
	if err := w.RequestPasswordReset.Do(t.Context(), user.Email); err != nil {
		t.Fatal(err)
	}
	return w.mailed(t, user.ID, contract.EventPasswordResetRequested, contract.PurposePasswordReset)
}

// Of many who use one token at once, in several replicas, one succeeds.
func TestATokenIsUsedOnce(t *testing.T) {
	w := newWorld()
	ada := w.register(t, "ada@example.com")
	w.logIn(t, "ada@example.com")
	verify := w.mailed(t, ada.ID, contract.EventVerificationRequested, contract.PurposeVerification)
	reset := w.resetMail(t, ada)
	replicas := []*process{w.process, w.replica(), w.replica()}
	var verified, set atomic.Int32
	var group sync.WaitGroup
	for i := range 24 {
		p := replicas[i%len(replicas)]
		count := func(n *atomic.Int32, err error) {
			if err == nil {
				n.Add(1)
			} else if !errors.Is(err, domain.ErrMailToken) {
				t.Errorf("attempt %d: %v", i, err)
			}
		}
		group.Go(func() { count(&verified, p.VerifyEmail.Do(t.Context(), verify)) })
		group.Go(func() { count(&set, p.ResetPassword.Do(t.Context(), reset, strings.Repeat("another one", i+1)[:11+i])) })
	}
	group.Wait()
	if verified.Load() != 1 || set.Load() != 1 {
		t.Errorf("the address was verified %d times, the password reset %d times", verified.Load(), set.Load())
	}
	changed := 0
	for _, e := range w.events(t, "user/"+ada.ID) {
		if e.Type == contract.EventPasswordChanged {
			changed++
		}
	}
	if user, err := w.accounts.Users.Get(t.Context(), ada.ID); err != nil || changed != 1 || !user.EmailVerified() || len(user.Sessions) != 0 {
		t.Errorf("%d changes, account %+v, %v", changed, user, err)
	}
	w.mustBeSound(t)
}

func TestResetPassword(t *testing.T) {
	w := newWorld()
	ada := w.register(t, "ada@example.com")
	grant, caller := w.logIn(t, "ada@example.com")
	token := w.resetMail(t, ada)
	if err := w.ResetPassword.Do(t.Context(), token, "ada@example.com"); len(domain.Violations(err)) != 1 {
		t.Errorf("a password that is easy to guess: %v", err)
	}
	if err := w.ResetPassword.Do(t.Context(), token, "another good one"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Refresh.Do(t.Context(), grant.RefreshToken); !errors.Is(err, app.ErrRefresh) {
		t.Errorf("an old session goes on: %v", err)
	}
	if err := w.ChangePassword.Do(t.Context(), app.PasswordChange{Caller: caller, Current: "another good one", New: "a third good one"}); !errors.Is(err, domain.ErrSessionEnded) {
		t.Errorf("an old access token changes the password: %v", err)
	}
	for password, want := range map[string]error{secret: domain.ErrCredentials, "another good one": nil} {
		if _, err := w.LogIn.Do(t.Context(), app.Credentials{Email: "ada@example.com", Password: password}); !errors.Is(err, want) {
			t.Errorf("logging in by %q: %v, want %v", password, err, want)
		}
	}
	if user, err := w.ShowProfile.Do(t.Context(), caller); err != nil || !user.EmailVerified() {
		t.Errorf("who got the mail is not verified: %v", err)
	}
	nobody := domain.MailKey("x").Token(contract.PurposePasswordReset, "01890000-0000-7000-8000-999999999999", domain.MailRequest{}).String()
	w.passwords.salt = 0
	for _, wrong := range []string{token, nobody, "x", strings.Replace(token, "p1", "v1", 1)} {
		if err := w.ResetPassword.Do(t.Context(), wrong, "another good one"); !errors.Is(err, domain.ErrMailToken) {
			t.Errorf("the token %q: %v", wrong, err)
		}
	}
	if w.passwords.salt != 0 {
		t.Error("a password was hashed for a token that is not valid")
	}
	w.mustBeSound(t)
}

// A request for a reset takes as long for an unknown address, and leaves nothing of it.
func TestRequestPasswordResetAnswersAlike(t *testing.T) {
	w := newWorld()
	ada := w.register(t, "ada@example.com")
	w.clock.advance(time.Hour)
	for _, email := range []domain.Email{ada.Email, "nobody@example.com", ada.Email} {
		before := w.clock.slept
		if err := w.RequestPasswordReset.Do(t.Context(), email); err != nil || w.clock.slept-before != resetDuration {
			t.Errorf("%s: %v after %s", email, err, w.clock.slept-before)
		}
	}
	asked := 0
	for _, e := range w.events(t, "user/") {
		if e.Type == contract.EventPasswordResetRequested {
			asked++
		}
	}
	if asked != 1 { // the second request of a minute is not granted
		t.Errorf("%d mails were asked for", asked)
	}
	if log := w.log.String(); strings.Contains(log, "@") {
		t.Errorf("the log has an address: %s", log)
	}
	w.mustBeSound(t)
	w.timeout = 20 * time.Millisecond
	w.clock.advance(time.Hour)
	broken := w.replica()
	w.store.BeforePut(func(string, []byte) error { return errors.New("the disk is full") })
	if err := broken.RequestPasswordReset.Do(t.Context(), ada.Email); err != nil || !strings.Contains(broken.log.String(), "could not be stored") {
		t.Errorf("a request that cannot be stored: %v, log %s", err, broken.log)
	}
}

func TestIssueMailToken(t *testing.T) {
	w := newWorld()
	ada := w.register(t, "ada@example.com")
	first := w.mailed(t, ada.ID, contract.EventVerificationRequested, contract.PurposeVerification)
	w.clock.advance(2 * time.Minute)
	if err := w.RequestVerification.Do(t.Context(), app.Caller{UserID: ada.ID}); err != nil {
		t.Fatal(err)
	}
	second := w.mailed(t, ada.ID, contract.EventVerificationRequested, contract.PurposeVerification)
	if first == second || second == "" {
		t.Errorf("two mails have %q and %q", first, second)
	}
	if err := w.VerifyEmail.Do(t.Context(), first); !errors.Is(err, domain.ErrMailToken) {
		t.Errorf("the token of the replaced mail: %v", err)
	}
	w.clock.advance(24 * time.Hour)
	if err := w.VerifyEmail.Do(t.Context(), second); !errors.Is(err, domain.ErrMailToken) {
		t.Errorf("an expired token: %v", err)
	}
	for _, asked := range []contract.MailTokenRequest{
		{UserID: ada.ID, Purpose: contract.PurposeVerification, RequestID: "other"},
		{UserID: ada.ID, Purpose: "other", RequestID: ""},
		{UserID: ada.ID, Purpose: contract.PurposePasswordReset},
		{UserID: "nobody", Purpose: contract.PurposeVerification, RequestID: "other"},
	} {
		if token, err := w.IssueMailToken.Do(t.Context(), asked); err != nil || token.Token != "" {
			t.Errorf("%+v has %v, %v", asked, token, err)
		}
	}
}
