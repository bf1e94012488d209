package domain_test

import (
	"errors"
	"strconv"
	"testing"

	"caravan/internal/document"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

func account(id string, term int64, roles ...string) *domain.User {
	return &domain.User{ID: id, Roles: roles, AdminTerm: term}
}

func TestAdminsWhoDismissEachOther(t *testing.T) {
	var admins domain.Admins
	a, b := account("a", 0, contract.RoleAdmin), account("b", 0, contract.RoleAdmin)
	term, err := admins.Dismiss(b, a)
	if err != nil || term != 1 {
		t.Fatalf("the first dismissal = %d, %v", term, err)
	}
	if _, err := admins.Dismiss(a, b); !errors.Is(err, domain.ErrDismissed) {
		t.Errorf("the second dismissal = %v", err)
	}
	if _, err := admins.Dismiss(a, account("c", 0, contract.RoleStaff)); !errors.Is(err, domain.ErrDismissed) {
		t.Errorf("a dismissal by staff = %v", err)
	}
	if again, err := admins.Appoint(b); err != nil || again != 2 {
		t.Errorf("the appointment = %d, %v", again, err)
	}
	if _, err := admins.Dismiss(a, b); !errors.Is(err, domain.ErrAdminUndecided) {
		t.Errorf("a dismissal before the account knows = %v", err)
	}
	b.AdminTerm = admins.Appointed("b")
	if again, err := admins.Appoint(b); !errors.Is(err, document.ErrUnchanged) || again != 2 {
		t.Errorf("the same appointment again = %d, %v", again, err)
	}
	if term, err := admins.Dismiss(a, b); err != nil || term != 3 || admins.Appointed("a") != 0 {
		t.Errorf("the last dismissal = %d, %v", term, err)
	}
}

// An account that knows of a later decision than the document is right: the document was lost, or came from elsewhere.
func TestAccountsOutliveTheirAdmins(t *testing.T) {
	var admins domain.Admins
	a, b := account("a", 8, contract.RoleAdmin), account("b", 5, contract.RoleAdmin)
	if term, err := admins.Dismiss(b, a); err != nil || term != 9 {
		t.Errorf("the dismissal = %d, %v", term, err)
	}
	if term, err := admins.Appoint(a); !errors.Is(err, document.ErrUnchanged) || term != 8 {
		t.Errorf("the appointment = %d, %v", term, err)
	}
}

func TestAdminsForgetOldDismissals(t *testing.T) {
	var admins domain.Admins
	a := account("a", 0, contract.RoleAdmin)
	for i := range 500 {
		if _, err := admins.Dismiss(account("b"+strconv.Itoa(i), 0, contract.RoleAdmin), a); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(admins.Decided); n != 101 || admins.Decided[0].UserID != "a" {
		t.Errorf("%d decisions are kept, the first about %s", n, admins.Decided[0].UserID)
	}
	if _, err := admins.Dismiss(a, account("b499", 0, contract.RoleAdmin)); !errors.Is(err, domain.ErrDismissed) {
		t.Errorf("the latest dismissal was forgotten: %v", err)
	}
}
