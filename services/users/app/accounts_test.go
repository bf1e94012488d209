package app_test

import (
	"errors"
	"fmt"
	"testing"

	"caravan/services/users/app"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

func TestUpdateProfile(t *testing.T) {
	w := newWorld()
	user := w.register(t, "ada@example.com")
	caller := app.Caller{UserID: user.ID}
	renamed, err := w.UpdateProfile.Do(t.Context(), caller, "Ada Lovelace")
	if err != nil || renamed.Name != "Ada Lovelace" {
		t.Errorf("UpdateProfile = %+v, %v", renamed, err)
	}
	if same, err := w.UpdateProfile.Do(t.Context(), caller, "Ada Lovelace"); err != nil || same.Revision != renamed.Revision {
		t.Errorf("changing nothing = %+v, %v", same, err)
	}
	_, err = w.UpdateProfile.Do(t.Context(), app.Caller{UserID: "nobody"}, "Ada Lovelace")
	if !errors.Is(err, domain.ErrNoUser) {
		t.Errorf("nobody's profile = %v", err)
	}
}

func TestChangeRoles(t *testing.T) {
	w := newWorld()
	admin := w.admin(t)
	user := w.register(t, "sam@example.com")
	_, customer := w.logIn(t, "sam@example.com")
	staff := []string{contract.RoleStaff}
	for name, test := range map[string]struct {
		ask  app.RolesChange
		want error
	}{
		"customer":     {app.RolesChange{Caller: customer, UserID: user.ID, Roles: []string{"admin"}}, app.ErrNotAllowed},
		"unknown user": {app.RolesChange{Caller: admin, UserID: "nobody", Roles: staff}, domain.ErrNoUser},
		"own role":     {app.RolesChange{Caller: admin, UserID: admin.UserID, Roles: staff}, domain.ErrOwnAdminRole},
		"no session":   {app.RolesChange{Caller: app.Caller{UserID: admin.UserID, SessionID: "x"}, UserID: user.ID, Roles: staff}, domain.ErrSessionEnded},
		"deleted":      {app.RolesChange{Caller: app.Caller{UserID: "nobody"}, UserID: user.ID, Roles: staff}, domain.ErrSessionEnded},
	} {
		if _, err := w.ChangeRoles.Do(t.Context(), test.ask); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	_, err := w.ChangeRoles.Do(t.Context(), app.RolesChange{Caller: admin, UserID: user.ID, Roles: []string{"boss"}})
	if violations := domain.Violations(err); len(violations) != 1 || violations[0].Field != "roles[0]" {
		t.Errorf("an unknown role: %v", err)
	}
	changed, err := w.ChangeRoles.Do(t.Context(), app.RolesChange{Caller: admin, UserID: user.ID, Roles: []string{"admin"}})
	if err != nil || !changed.Can(contract.PermissionUsersAdmin) {
		t.Fatalf("ChangeRoles = %+v, %v", changed, err)
	}
	// The new admin takes the role from the old one, whose token still says it.
	if _, err := w.ChangeRoles.Do(t.Context(), app.RolesChange{Caller: customer, UserID: admin.UserID, Roles: staff}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ChangeRoles.Do(t.Context(), app.RolesChange{Caller: admin, UserID: user.ID, Roles: staff}); !errors.Is(err, app.ErrNotAllowed) {
		t.Errorf("a former admin = %v", err)
	}
	w.mustBeSound(t)
}

func TestListUsers(t *testing.T) {
	w := newWorld()
	const many = 130
	for i := range many {
		w.register(t, fmt.Sprintf("user%03d@example.com", i))
	}
	for _, limit := range []int{1, 7, 50, 100} {
		all := w.everybody(t, limit)
		if len(all) != many {
			t.Fatalf("limit %d: %d accounts", limit, len(all))
		}
		for i, user := range all {
			if want := fmt.Sprintf("user%03d@example.com", many-1-i); string(user.Email) != want {
				t.Fatalf("limit %d: account %d is %s, want %s", limit, i, user.Email, want)
			}
		}
	}
	for email, want := range map[string]int{" User007@Example.com": 1, "nobody@example.com": 0} {
		if users, next, err := w.ListUsers.Do(t.Context(), app.UserQuery{Email: email, Limit: 1}); err != nil || len(users) != want || next != "" {
			t.Errorf("by address: %d accounts, next %q, %v", len(users), next, err)
		}
	}
	if _, _, err := w.ListUsers.Do(t.Context(), app.UserQuery{Email: "nonsense"}); len(domain.Violations(err)) != 1 {
		t.Errorf("a malformed address: %v", err)
	}
	if _, _, err := w.ListUsers.Do(t.Context(), app.UserQuery{Cursor: "nonsense", Limit: 1}); err == nil {
		t.Errorf("a malformed cursor is accepted")
	}
	w.mustBeSound(t)
}
