package app_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"caravan/internal/document"
	"caravan/services/users/app"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// staffWith are those whom ListStaff finds with a permission.
func (w *world) staffWith(t *testing.T, permission string, limit int) ([]string, error) {
	t.Helper()
	return app.ListStaff{Accounts: w.replica().accounts}.Do(t.Context(), contract.StaffRequest{Permission: permission, Limit: limit})
}

func TestStaffAreListed(t *testing.T) {
	w := newWorld()
	admin := w.admin(t)
	one, two, three := w.register(t, "one@example.com"), w.register(t, "two@example.com"), w.register(t, "three@example.com")
	set := func(user *domain.User, roles ...string) {
		t.Helper()
		change := app.ChangeRoles{Accounts: w.replica().accounts}
		if _, err := change.Do(t.Context(), app.RolesChange{Caller: admin, UserID: user.ID, Roles: roles}); err != nil {
			t.Fatal(err)
		}
	}
	set(one, contract.RoleStaff)
	var unavailable document.Unavailable
	if _, err := w.staffWith(t, contract.PermissionInventoryAdjust, 10); !errors.As(err, &unavailable) {
		t.Errorf("before all accounts were looked at: %v", err)
	}
	for range 2 {
		if err := (app.ListStaffOnce{Accounts: w.replica().accounts}).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	set(two, contract.RoleCustomer, contract.RoleStaff)
	set(three, contract.RoleStaff)
	set(three, contract.RoleCustomer) // is staff no more, and stays in the list
	for _, test := range []struct {
		permission string
		limit      int
		want       []string
	}{
		{contract.PermissionInventoryAdjust, 10, []string{admin.UserID, one.ID, two.ID}},
		{contract.PermissionInventoryAdjust, 2, []string{admin.UserID, one.ID}},
		{contract.PermissionUsersAdmin, 10, []string{admin.UserID}},
		{"no:such", 10, []string{}},
	} {
		if got, err := w.staffWith(t, test.permission, test.limit); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%d with %s: %q, %v; want %q", test.limit, test.permission, got, err, test.want)
		}
	}
}

// Accounts that were staff before there was the list are found once.
func TestStaffOfAnEarlierVersionAreListed(t *testing.T) {
	w := newWorld()
	admin := w.admin(t)
	w.register(t, "one@example.com")
	w.store.Remove("staff/all")
	if err := (app.ListStaffOnce{Accounts: w.replica().accounts}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := w.staffWith(t, contract.PermissionOpsRead, 10); err != nil || !slices.Equal(got, []string{admin.UserID}) {
		t.Errorf("found %q, %v", got, err)
	}
}

func TestTheListOfStaffIsBounded(t *testing.T) {
	s := new(domain.Staff)
	for i := range domain.MaxStaff {
		if err := s.Enter(fmt.Sprint("u", i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, userID := range []string{"u3", "another"} {
		if err := s.Enter(userID); !errors.Is(err, document.ErrUnchanged) {
			t.Errorf("entering %s: %v", userID, err)
		}
	}
}
