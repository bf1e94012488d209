package app_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/services/users/app"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

func TestRegister(t *testing.T) {
	w := newWorld()
	user, err := w.Register.Do(t.Context(), applicant(t, " Ada@Example.com ", secret, " Ada "))
	if err != nil {
		t.Fatal(err)
	}
	if user.Email != "ada@example.com" || user.Name != "Ada" || !slices.Equal(user.Roles, []string{contract.RoleCustomer}) {
		t.Errorf("account %+v", user)
	}
	_, err = w.Register.Do(t.Context(), applicant(t, "ADA@example.com", secret, "Eve"))
	if !errors.Is(err, domain.ErrEmailTaken) {
		t.Errorf("another spelling of the address = %v", err)
	}
	events := w.events(t, "user/")
	if len(events) != 2 || events[0].Type != contract.EventRegistered || events[0].Subject != user.ID || events[1].Type != contract.EventVerificationRequested {
		t.Fatalf("events %+v", events)
	}
	for _, e := range events {
		if data := strings.ToLower(string(e.Data)); strings.Contains(data, "ada") {
			t.Errorf("the event holds personal data: %s", data)
		}
	}
	w.mustBeSound(t)
}

// Of many who register one address at once, in one process and in several, one gets it.
func TestRegisterRace(t *testing.T) {
	w := newWorld()
	replicas := []*process{w.process, w.replica(), w.replica()}
	var (
		group sync.WaitGroup
		won   atomic.Int32
	)
	for i := range 24 {
		group.Go(func() {
			_, err := replicas[i%len(replicas)].Register.Do(t.Context(),
				applicant(t, "ada@example.com", fmt.Sprint(secret, i), "Ada"))
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, domain.ErrEmailTaken) {
				t.Errorf("attempt %d: %v", i, err)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 || len(w.everybody(t, 10)) != 1 || len(w.events(t, "user/")) != 2 {
		t.Errorf("%d won, %d listed, %d events", won.Load(), len(w.everybody(t, 10)), len(w.events(t, "user/")))
	}
	w.mustBeSound(t)
}

// The process dies, or the store goes away, before or after any write of a registration: the next one with the address
// gets it unless the first had already, the account is listed once, and nothing is left that the audit minds.
func TestRegisterBrokenOffAnywhere(t *testing.T) {
	for _, prefix := range []string{"claim/", "user-list/", "user/"} {
		for _, landed := range []bool{false, true} {
			t.Run(fmt.Sprint(prefix, landed), func(t *testing.T) { testRegisterBrokenOff(t, prefix, landed) })
		}
	}
}

func testRegisterBrokenOff(t *testing.T, prefix string, landed bool) {
	w := newWorld()
	w.register(t, "earlier@example.com")
	w.timeout = 500 * time.Millisecond // it is waited for
	w.process = w.replica()
	dead := errors.New("the store is away")
	away := false
	failing := func(key string, _ []byte) error {
		if away = away || strings.HasPrefix(key, prefix); away {
			return dead
		}
		return nil
	}
	if landed {
		w.store.AfterPut(failing)
	} else {
		w.store.BeforePut(failing)
	}
	w.store.BeforeGet(func([]string) error {
		if away {
			return dead
		}
		return nil
	})
	ask := applicant(t, "ada@example.com", secret, "Ada")
	if user, err := w.Register.Do(t.Context(), ask); err == nil {
		t.Fatalf("registered %v while the store was away", user)
	}
	w.store.BeforePut(nil)
	w.store.AfterPut(nil)
	w.store.BeforeGet(nil)
	w.timeout = 5 * time.Second
	w.process = w.replica()
	_, err := w.Register.Do(t.Context(), ask)
	if taken := prefix == "user/" && landed; taken != errors.Is(err, domain.ErrEmailTaken) || !taken && err != nil {
		t.Fatalf("registering again = %v", err)
	}
	w.logIn(t, "ada@example.com")
	if all := w.everybody(t, 1); len(all) != 2 || all[0].Email != "ada@example.com" {
		t.Errorf("%d accounts listed", len(all))
	}
	w.mustBeSound(t)
}

// A write whose answer is lost is found to have landed.
func TestRegisterSurvivesLostAnswers(t *testing.T) {
	w := newWorld()
	w.store.AfterPut(func(string, []byte) error { return errors.New("answer lost") })
	w.register(t, "ada@example.com")
	w.logIn(t, "ada@example.com")
	w.mustBeSound(t)
}

func TestRegisterWhenBusy(t *testing.T) {
	w := newWorld()
	w.passwords.failure = errors.New("busy")
	_, err := w.Register.Do(t.Context(), applicant(t, "ada@example.com", secret, "Ada"))
	if !errors.Is(err, w.passwords.failure) {
		t.Errorf("Register = %v", err)
	}
	if keys := w.store.Keys(); len(keys) != 0 {
		t.Errorf("a registration that could not be hashed left %v", keys)
	}
}

func TestBootstrap(t *testing.T) {
	const root = "root@example.com"
	w := newWorld()
	var group sync.WaitGroup
	for _, replica := range []*process{w.replica(), w.replica(), w.replica()} {
		group.Go(func() {
			if err := replica.bootstrap(t.Context(), root, secret, "Administrator"); err != nil {
				t.Errorf("bootstrap: %v", err)
			}
		})
	}
	group.Wait()
	all := w.everybody(t, 10)
	if len(all) != 1 || !all[0].Can(contract.PermissionUsersAdmin) {
		t.Fatalf("accounts %+v", all)
	}
	const invisible = "\u200b" // no new account could have this name
	if err := w.bootstrap(t.Context(), root, "another good password", invisible); err != nil {
		t.Errorf("with a password that was changed and a name that was accepted before = %v", err)
	}
	if _, err := w.LogIn.Do(t.Context(), app.Credentials{Email: root, Password: secret}); err != nil {
		t.Errorf("bootstrapping again changed the password: %v", err)
	}
}

func TestBootstrapRefusesWhatIsNotValid(t *testing.T) {
	w := newWorld()
	for _, given := range [][3]string{{"nonsense", secret, "Root"}, {"root@example.com", "12345678", "Root"}, {"root@example.com", secret, " "}} {
		if err := w.bootstrap(t.Context(), given[0], given[1], given[2]); len(domain.Violations(err)) != 1 {
			t.Errorf("%q: %v", given, err)
		}
	}
	if err := w.bootstrap(t.Context(), "", "", ""); err != nil || len(w.store.Keys()) != 0 {
		t.Errorf("without an admin: %v, documents %v", err, w.store.Keys())
	}
}

func TestBootstrapPromotesOnlyTheOwner(t *testing.T) {
	const root = "root@example.com"
	w := newWorld()
	user := w.register(t, root)
	if err := w.bootstrap(t.Context(), root, "another good password", "Administrator"); !errors.Is(err, app.ErrBootstrap) {
		t.Errorf("over somebody's account = %v", err)
	}
	if kept, err := w.ShowProfile.Do(t.Context(), app.Caller{UserID: user.ID}); err != nil || kept.HasRole(contract.RoleAdmin) {
		t.Errorf("roles %v, %v", kept.Roles, err)
	}
	if err := w.bootstrap(t.Context(), root, secret, "Administrator"); err != nil {
		t.Fatal(err)
	}
	promoted, err := w.ShowProfile.Do(t.Context(), app.Caller{UserID: user.ID})
	if err != nil || !slices.Equal(promoted.Roles, []string{"admin", "customer"}) {
		t.Errorf("roles %v, %v", promoted.Roles, err)
	}
}
