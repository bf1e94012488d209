package app_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/internal/document/documenttest"
	"caravan/internal/token"
	"caravan/services/users/app"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

func TestLogInClaims(t *testing.T) {
	w := newWorld()
	user := w.register(t, "ada@example.com")
	grant, caller := w.logIn(t, " ADA@example.com")
	got := w.signer.issued[grant.AccessToken]
	now := w.clock.Now()
	want := token.Claims{
		Issuer: "caravan", Subject: user.ID, Audience: "caravan-api", ClientID: "caravan", SessionID: caller.SessionID, ID: got.ID,
		IssuedAt: now, Expiry: now.Add(5 * time.Minute), AuthTime: now, Version: 1,
		Roles: []string{"customer"}, Permissions: contract.PermissionsOf([]string{"customer"}),
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("claims\n%+v, want\n%+v", got, want)
	}
	for _, key := range w.store.Keys() {
		records, err := w.store.Get(t.Context(), key)
		if err != nil || strings.Contains(string(records[key].Value), grant.RefreshToken) {
			t.Errorf("%s holds the refresh token, %v", key, err)
		}
		if strings.Contains(key, "ada") {
			t.Errorf("the key %s holds personal data", key)
		}
	}
}

// Somebody without an account learns nothing from the answer, and it takes the same work.
func TestLogInRefusesAlike(t *testing.T) {
	w := newWorld()
	w.register(t, "ada@example.com")
	for name, given := range map[string]app.Credentials{
		"wrong password":    {Email: "ada@example.com", Password: "wrong password"},
		"unknown address":   {Email: "eve@example.com", Password: secret},
		"malformed address": {Email: "nonsense", Password: secret},
		"no password":       {Email: "ada@example.com"},
	} {
		before := w.passwords.verified
		_, err := w.LogIn.Do(t.Context(), given)
		if err == nil || err.Error() != domain.ErrCredentials.Error() || w.passwords.verified != before+1 {
			t.Errorf("%s: %v after %d comparisons", name, err, w.passwords.verified-before)
		}
	}
}

func TestLogInRenewsOutdatedHashes(t *testing.T) {
	w := newWorld()
	user := w.register(t, "ada@example.com")
	old := user.PasswordHash
	w.passwords.scheme = "newer"
	w.logIn(t, "ada@example.com")
	user, err := w.ShowProfile.Do(t.Context(), app.Caller{UserID: user.ID})
	if err != nil || user.PasswordHash == old || !strings.HasPrefix(user.PasswordHash, "newer:") {
		t.Errorf("hash %s, %v", user.PasswordHash, err)
	}
	w.logIn(t, "ada@example.com")
}

// An accent is one password whether a keyboard sends it as one character or as two, wherever a password is given.
func TestPasswordsAreComparedNormalized(t *testing.T) {
	const composed, decomposed = "p\u00e4sswo\u0301rt 9", "pa\u0308ssw\u00f3rt\u00a09"
	for _, forms := range [][2]string{{composed, decomposed}, {decomposed, composed}} {
		w := newWorld()
		if _, err := w.Register.Do(t.Context(), applicant(t, "ada@example.com", forms[0], "Ada")); err != nil {
			t.Fatal(err)
		}
		for _, typed := range forms {
			grant, err := w.LogIn.Do(t.Context(), app.Credentials{Email: "ada@example.com", Password: typed})
			if err != nil {
				t.Fatalf("logging in with %+q: %v", typed, err)
			}
			change := app.PasswordChange{Caller: w.caller(grant), Current: forms[1], New: forms[0]}
			if err := w.ChangePassword.Do(t.Context(), change); err != nil {
				t.Fatalf("changing the password: %v", err)
			}
		}
	}
}

// plantHash gives an account the hash of a password as it is.
func plantHash(t *testing.T, w *world, userID, password string) {
	t.Helper()
	hash, err := w.passwords.Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	documenttest.Edit(t, w.store, "user/"+userID, func(u *domain.User) { u.PasswordHash = hash })
}

// A hash from before passwords were normalized is of what was typed then. It goes on working, and is renewed.
func TestHashesOfPasswordsThatWereNotNormalizedGoOnWorking(t *testing.T) {
	const composed, decomposed = "p\u00e4sswort 9", "pa\u0308sswort 9"
	w := newWorld()
	user := w.register(t, "ada@example.com")
	plantHash(t, w, user.ID, decomposed)
	logIn := func(password string) error {
		_, err := w.LogIn.Do(t.Context(), app.Credentials{Email: "ada@example.com", Password: password})
		return err
	}
	if err := logIn(composed); !errors.Is(err, domain.ErrCredentials) {
		t.Fatalf("with what was never typed: %v", err)
	}
	for _, typed := range []string{decomposed, composed, decomposed} {
		if err := logIn(typed); err != nil {
			t.Fatalf("with %+q: %v", typed, err)
		}
	}
	user, err := w.ShowProfile.Do(t.Context(), app.Caller{UserID: user.ID})
	if err != nil || !strings.HasSuffix(user.PasswordHash, composed) {
		t.Errorf("the hash is now %+q, %v", user.PasswordHash, err)
	}
	plantHash(t, w, user.ID, decomposed)
	grant, err := w.LogIn.Do(t.Context(), app.Credentials{Email: "ada@example.com", Password: decomposed})
	if err != nil {
		t.Fatal(err)
	}
	plantHash(t, w, user.ID, decomposed)
	if err := w.ChangePassword.Do(t.Context(), app.PasswordChange{Caller: w.caller(grant), Current: decomposed, New: composed}); err != nil {
		t.Errorf("changing it: %v", err)
	}
	w.mustBeSound(t)
}

// A wrong password costs two comparisons only if its forms differ, and then as many without an account.
func TestTheWorkOfAWrongPasswordTellsNothing(t *testing.T) {
	w := newWorld()
	w.register(t, "ada@example.com")
	for password, want := range map[string]int{"wrong password": 1, "wrong p\u00e4ssword": 1, "wrong pa\u0308ssword": 2} {
		for _, email := range []string{"ada@example.com", "eve@example.com", "nonsense"} {
			before := w.passwords.verified
			_, err := w.LogIn.Do(t.Context(), app.Credentials{Email: email, Password: password})
			if got := w.passwords.verified - before; !errors.Is(err, domain.ErrCredentials) || got != want {
				t.Errorf("%s with %+q: %v after %d comparisons; want %d", email, password, err, got, want)
			}
		}
	}
}

// Many log in to one account at once while its hash is being renewed: each gets a session or is told to try again.
func TestLogInRace(t *testing.T) {
	w := newWorld()
	w.register(t, "ada@example.com")
	w.passwords.scheme = "newer"
	replicas := []*process{w.process, w.replica()}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			grant, err := replicas[i%2].LogIn.Do(t.Context(), app.Credentials{Email: "ada@example.com", Password: secret})
			if err != nil {
				t.Errorf("logging in: %v", err)
				return
			}
			if _, err := replicas[(i+1)%2].Refresh.Do(t.Context(), grant.RefreshToken); err != nil {
				t.Errorf("refreshing elsewhere: %v", err)
			}
		})
	}
	group.Wait()
	w.mustBeSound(t)
}

func TestTheEleventhSessionEndsTheFirst(t *testing.T) {
	w := newWorld()
	w.register(t, "ada@example.com")
	first, _ := w.logIn(t, "ada@example.com")
	second, _ := w.logIn(t, "ada@example.com")
	for range domain.MaxSessions - 1 {
		w.logIn(t, "ada@example.com")
	}
	if _, err := w.Refresh.Do(t.Context(), first.RefreshToken); !errors.Is(err, domain.ErrSessionEnded) {
		t.Errorf("the first = %v", err)
	}
	if _, err := w.Refresh.Do(t.Context(), second.RefreshToken); err != nil {
		t.Errorf("the second = %v", err)
	}
	w.mustBeSound(t)
}

func TestRefresh(t *testing.T) {
	w := newWorld()
	w.register(t, "ada@example.com")
	first, caller := w.logIn(t, "ada@example.com")
	w.clock.advance(time.Hour)
	second, err := w.Refresh.Do(t.Context(), first.RefreshToken)
	if err != nil || w.caller(second) != caller || second.RefreshToken == first.RefreshToken {
		t.Fatalf("Refresh = %+v, %v", second, err)
	}
	if claims := w.signer.issued[second.AccessToken]; !claims.AuthTime.Equal(w.clock.Now().Add(-time.Hour)) {
		t.Errorf("auth_time %s", claims.AuthTime)
	}
	again, err := w.replica().Refresh.Do(t.Context(), first.RefreshToken)
	if err != nil || again.RefreshToken != second.RefreshToken {
		t.Errorf("a lost answer is not given again: %v", err)
	}
	w.clock.advance(21 * time.Second)
	if _, err := w.Refresh.Do(t.Context(), first.RefreshToken); !errors.Is(err, app.ErrTokenReused) || !errors.Is(err, domain.ErrSessionEnded) {
		t.Errorf("reuse = %v", err)
	}
	if log := w.log.String(); !strings.Contains(log, "presented again") || strings.Contains(log, first.RefreshToken) {
		t.Errorf("the log of the reuse is %q", log)
	}
	if _, err := w.Refresh.Do(t.Context(), second.RefreshToken); !errors.Is(err, domain.ErrSessionEnded) {
		t.Errorf("the family after reuse = %v", err)
	}
	user, err := w.ShowProfile.Do(t.Context(), caller)
	if err != nil || len(user.Sessions) != 0 {
		t.Errorf("sessions %v, %v", user.Sessions, err)
	}
	events := w.events(t, "session/")
	if len(events) != 1 || events[0].Type != contract.EventSessionsRevoked {
		t.Errorf("events %+v", events)
	}
}

func TestRefreshRefuses(t *testing.T) {
	w := newWorld()
	w.register(t, "ada@example.com")
	grant, caller := w.logIn(t, "ada@example.com")
	forged := domain.RefreshToken{SessionID: caller.SessionID, Sequence: 1, Secret: strings.Repeat("A", 43)}
	unknown := domain.RefreshToken{SessionID: "01890000-0000-7000-8000-999999999999", Sequence: 1, Secret: strings.Repeat("A", 43)}
	for name, raw := range map[string]string{"empty": "", "nonsense": "x", "access token": grant.AccessToken, "forged": forged.String(), "unknown": unknown.String()} {
		if _, err := w.Refresh.Do(t.Context(), raw); !errors.Is(err, domain.ErrRefreshToken) && !errors.Is(err, domain.ErrSessionEnded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Refresh.Do(t.Context(), grant.RefreshToken); err != nil {
		t.Errorf("guesses ended the session: %v", err)
	}
}

// However many present one token at once, in several replicas and with answers of the store lost, all get the same
// successor and the session lives on.
func TestRefreshRace(t *testing.T) {
	w := newWorld()
	w.register(t, "ada@example.com")
	grant, _ := w.logIn(t, "ada@example.com")
	var puts int
	var mu sync.Mutex
	w.store.AfterPut(func(string, []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if puts++; puts%2 == 1 {
			return errors.New("answer lost")
		}
		return nil
	})
	replicas := []*process{w.replica(), w.replica(), w.replica()}
	var group sync.WaitGroup
	successors := make([]string, 50)
	for i := range successors {
		group.Go(func() {
			next, err := replicas[i%len(replicas)].Refresh.Do(t.Context(), grant.RefreshToken)
			if err != nil {
				t.Errorf("refreshing: %v", err)
			}
			successors[i] = next.RefreshToken
		})
	}
	group.Wait()
	if distinct := slices.Compact(slices.Sorted(slices.Values(successors))); len(distinct) != 1 {
		t.Errorf("%d different successors", len(distinct))
	}
	w.store.AfterPut(nil)
	if _, err := w.Refresh.Do(t.Context(), successors[0]); err != nil {
		t.Errorf("the successor = %v", err)
	}
}

func TestRefreshFollowsTheRoles(t *testing.T) {
	w := newWorld()
	admin := w.admin(t)
	user := w.register(t, "sam@example.com")
	grant, _ := w.logIn(t, "sam@example.com")
	if _, err := w.ChangeRoles.Do(t.Context(), app.RolesChange{Caller: admin, UserID: user.ID, Roles: []string{"staff"}}); err != nil {
		t.Fatal(err)
	}
	grant, err := w.Refresh.Do(t.Context(), grant.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	claims := w.signer.issued[grant.AccessToken]
	if claims.Version != 2 || !claims.Can(contract.PermissionOrdersRefund) {
		t.Errorf("claims %+v", claims)
	}
	w.clock.advance(staff.Idle)
	if _, err := w.Refresh.Do(t.Context(), grant.RefreshToken); !errors.Is(err, domain.ErrSessionEnded) {
		t.Errorf("staff's session after half an hour of rest = %v", err)
	}
}

func TestLogOut(t *testing.T) {
	w := newWorld()
	w.register(t, "ada@example.com")
	w.register(t, "eve@example.com")
	grant, caller := w.logIn(t, "ada@example.com")
	other, _ := w.logIn(t, "ada@example.com")
	_, eve := w.logIn(t, "eve@example.com")
	if err := w.LogOut.Do(t.Context(), app.Caller{UserID: eve.UserID, SessionID: caller.SessionID}); err != nil {
		t.Fatal(err)
	}
	grant, err := w.Refresh.Do(t.Context(), grant.RefreshToken)
	if err != nil {
		t.Fatalf("somebody else ended the session: %v", err)
	}
	for range 2 {
		if err := w.LogOut.Do(t.Context(), caller); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Refresh.Do(t.Context(), grant.RefreshToken); !errors.Is(err, domain.ErrSessionEnded) {
		t.Errorf("after logging out = %v", err)
	}
	if _, err := w.Refresh.Do(t.Context(), other.RefreshToken); err != nil {
		t.Errorf("the other session = %v", err)
	}
	if events := w.events(t, "session/"); len(events) != 1 {
		t.Errorf("%d events", len(events))
	}
	w.mustBeSound(t)
}

func TestChangePassword(t *testing.T) {
	const changed = "a different password"
	w := newWorld()
	w.register(t, "ada@example.com")
	mine, caller := w.logIn(t, "ada@example.com")
	other, ended := w.logIn(t, "ada@example.com")
	tests := map[string]struct {
		ask   app.PasswordChange
		field string
	}{
		"wrong current": {app.PasswordChange{Caller: caller, Current: "wrong password", New: changed}, "currentPassword"},
		"weak new":      {app.PasswordChange{Caller: caller, Current: secret, New: "12345678"}, "newPassword"},
	}
	for name, test := range tests {
		violations := domain.Violations(w.ChangePassword.Do(t.Context(), test.ask))
		if len(violations) != 1 || violations[0].Field != test.field {
			t.Errorf("%s: %v", name, violations)
		}
	}
	if err := w.ChangePassword.Do(t.Context(), app.PasswordChange{Caller: caller, Current: secret, New: changed}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Refresh.Do(t.Context(), mine.RefreshToken); err != nil {
		t.Errorf("the session that changed it = %v", err)
	}
	if _, err := w.Refresh.Do(t.Context(), other.RefreshToken); !errors.Is(err, domain.ErrSessionEnded) {
		t.Errorf("another session = %v", err)
	}
	if err := w.ChangePassword.Do(t.Context(), app.PasswordChange{Caller: ended, Current: changed, New: secret}); !errors.Is(err, domain.ErrSessionEnded) {
		t.Errorf("an access token of an ended session changes the password: %v", err)
	}
	if _, err := w.LogIn.Do(t.Context(), app.Credentials{Email: "ada@example.com", Password: secret}); !errors.Is(err, domain.ErrCredentials) {
		t.Errorf("the old password = %v", err)
	}
	if _, err := w.LogIn.Do(t.Context(), app.Credentials{Email: "ada@example.com", Password: changed}); err != nil {
		t.Errorf("the new password = %v", err)
	}
	w.mustBeSound(t)
}
