package domain_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"caravan/internal/document"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

const hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaA"

func registered(t *testing.T, roles ...string) *domain.User {
	t.Helper()
	var user domain.User
	err := user.Register(domain.Registration{ID: "u", Email: "ada@example.com", Name: "Ada", PasswordHash: hash, Roles: roles, ListedAs: "first"}, start)
	if err != nil {
		t.Fatal(err)
	}
	return &user
}

func TestRegister(t *testing.T) {
	user := registered(t, contract.RoleCustomer)
	if err := user.Register(domain.Registration{ID: "v", ListedAs: "second"}, start); !errors.Is(err, domain.ErrEmailTaken) || user.ID != "u" {
		t.Errorf("registering again = %v, id %s", err, user.ID)
	}
	if err := user.Register(domain.Registration{ID: "u", ListedAs: "first"}, start); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("the same registration again = %v", err)
	}
	if len(user.Timeline) != 1 || user.Timeline[0].Type != contract.EventRegistered {
		t.Fatalf("timeline %v", user.Timeline)
	}
	for _, personal := range []string{string(user.Email), string(user.Name), user.PasswordHash} {
		if strings.Contains(string(user.Timeline[0].Data), personal) {
			t.Errorf("the event says %q", personal)
		}
	}
}

func TestClaimAssign(t *testing.T) {
	var claim domain.Claim
	if err := claim.Assign("u", start); err != nil {
		t.Fatal(err)
	}
	if err := claim.Assign("v", start); !errors.Is(err, document.ErrUnchanged) || claim.UserID != "u" {
		t.Errorf("assigning again = %v, user %s", err, claim.UserID)
	}
}

func TestOpenSessionDisplacesTheOldest(t *testing.T) {
	user := registered(t, contract.RoleCustomer)
	for i := range domain.MaxSessions + 2 {
		now := start.Add(time.Duration(i) * time.Minute)
		session := domain.OpenSession{ID: fmt.Sprint("s", i), OpenedAt: now, Until: now.Add(time.Hour)}
		if err := user.OpenSession(session, hash, "", "", now); err != nil {
			t.Fatal(err)
		}
	}
	if len(user.Sessions) != domain.MaxSessions || user.Sessions[0].ID != "s2" {
		t.Errorf("%d sessions, oldest %s", len(user.Sessions), user.Sessions[0].ID)
	}
	var revoked contract.SessionsRevoked
	if err := user.Timeline[len(user.Timeline)-1].Decode(&revoked); err != nil {
		t.Fatal(err)
	}
	want := contract.SessionsRevoked{UserID: "u", SessionIDs: []string{"s1"}, Reason: contract.RevokedDisplaced}
	if !reflect.DeepEqual(revoked, want) {
		t.Errorf("event %+v, want %+v", revoked, want)
	}
	later := start.Add(2 * time.Hour)
	events := len(user.Timeline)
	if err := user.OpenSession(domain.OpenSession{ID: "fresh", Until: later.Add(time.Hour)}, hash, "rehashed", "", later); err != nil {
		t.Fatal(err)
	}
	if len(user.Sessions) != 1 || len(user.Timeline) != events || user.PasswordHash != "rehashed" {
		t.Errorf("%d sessions, %d new events, hash %s after all ran out", len(user.Sessions), len(user.Timeline)-events, user.PasswordHash)
	}
	if err := user.OpenSession(domain.OpenSession{ID: "fresh"}, hash, "rehashed", "", later); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("opening the same session again = %v", err)
	}
	if err := user.OpenSession(domain.OpenSession{ID: "late"}, hash, "", "", later); !errors.Is(err, domain.ErrPasswordMoved) {
		t.Errorf("opening on an old verification = %v", err)
	}
}

func TestChangePassword(t *testing.T) {
	user := registered(t, contract.RoleCustomer)
	for _, id := range []string{"a", "b", "c"} {
		if err := user.OpenSession(domain.OpenSession{ID: id, Until: start.Add(time.Hour)}, hash, "", "", start); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		verified, keep string
		now            time.Time
		want           error
	}{
		"moved":           {"other", "b", start, domain.ErrPasswordMoved},
		"foreign session": {hash, "x", start, domain.ErrSessionEnded},
		"ended session":   {hash, "b", start.Add(time.Hour), domain.ErrSessionEnded},
	} {
		before := text(t, user)
		if err := user.ChangePassword(test.verified, "new", test.keep, test.now); !errors.Is(err, test.want) || text(t, user) != before {
			t.Errorf("%s: %v, want %v and no change", name, err, test.want)
		}
	}
	if err := user.ChangePassword(hash, "new", "b", start); err != nil {
		t.Fatal(err)
	}
	if !user.HasSession("b", start) || user.HasSession("a", start) || user.HasSession("c", start) || user.Version != 2 {
		t.Errorf("sessions %v, version %d", user.Sessions, user.Version)
	}
	if err := user.ChangePassword(hash, "new", "b", start); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("the same change again = %v", err)
	}
	if err := new(domain.User).ChangePassword(hash, "new", "b", start); !errors.Is(err, domain.ErrNoUser) {
		t.Errorf("nobody's password: %v", err)
	}
}

func TestChangeRoles(t *testing.T) {
	admin := registered(t, contract.RoleAdmin)
	if err := admin.ChangeRoles([]string{"customer"}, "u", 1, start); !errors.Is(err, domain.ErrOwnAdminRole) {
		t.Errorf("giving up the own admin role = %v", err)
	}
	if err := admin.ChangeRoles([]string{"admin", "customer"}, "u", 1, start); err != nil {
		t.Errorf("adding a role to oneself = %v", err)
	}
	if err := admin.ChangeRoles([]string{"customer", "admin"}, "u", 1, start); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("the same roles in another order = %v", err)
	}
	if err := admin.ChangeRoles([]string{"customer"}, "v", 0, start); !errors.Is(err, domain.ErrAdminUndecided) {
		t.Errorf("a dismissal that was not decided = %v", err)
	}
	if err := admin.ConfirmAdmin(3); err != nil || admin.Version != 2 {
		t.Errorf("confirming = %v", err)
	}
	if err := admin.ChangeRoles([]string{"customer"}, "v", 2, start); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("a dismissal from before the last decision = %v", err)
	}
	if err := admin.ChangeRoles([]string{"customer"}, "v", 4, start); err != nil || admin.Can(contract.PermissionUsersAdmin) {
		t.Errorf("another admin's decision = %v", err)
	}
	if err := admin.ConfirmAdmin(5); !errors.Is(err, domain.ErrDismissed) {
		t.Errorf("confirming who is no admin = %v", err)
	}
	if err := admin.ChangeRoles([]string{"staff"}, "v", 0, start); err != nil {
		t.Errorf("roles without an admin = %v", err)
	}
	if err := admin.ChangeRoles([]string{"admin"}, "v", 0, start); !errors.Is(err, domain.ErrAdminUndecided) {
		t.Errorf("an admin who was not decided about = %v", err)
	}
	if admin.Version != 4 || len(admin.Timeline) != 4 {
		t.Errorf("version %d, %d events", admin.Version, len(admin.Timeline))
	}
}

func TestCheckRoles(t *testing.T) {
	for name, test := range map[string]struct {
		roles  []string
		fields []string
	}{
		"one":          {[]string{"staff"}, nil},
		"all":          {[]string{"customer", "staff", "admin"}, nil},
		"none":         {nil, []string{"roles"}},
		"unknown":      {[]string{"customer", "root"}, []string{"roles[1]"}},
		"case matters": {[]string{"Admin"}, []string{"roles[0]"}},
		"twice":        {[]string{"staff", "staff"}, []string{"roles[1]"}},
		"several":      {[]string{"x", "y"}, []string{"roles[0]", "roles[1]"}},
		"too many":     {[]string{"a", "b", "c", "d"}, []string{"roles"}},
	} {
		var fields []string
		for _, violation := range domain.Violations(domain.CheckRoles(test.roles)) {
			fields = append(fields, violation.Field)
		}
		if !reflect.DeepEqual(fields, test.fields) {
			t.Errorf("%s: violations of %v, want %v", name, fields, test.fields)
		}
	}
}
