package domain

import (
	"errors"
	"slices"

	"caravan/internal/document"
	"caravan/services/users/contract"
)

// dismissalsKept is how many dismissed admins are remembered: a dismissal only matters until its account is written.
const dismissalsKept = 100

var (
	// ErrDismissed is returned when an account is not an admin, or its dismissal is decided already.
	ErrDismissed = errors.New("the account is no admin any more")
	// ErrAdminUndecided is returned when an account's admin role would change without a decision in Admins, or when the
	// account of the deciding admin does not have the latest decision about itself.
	ErrAdminUndecided = errors.New("whether the account is an admin has to be decided first")
)

// Admins is the one document that decides who is an admin, so that two admins who dismiss each other cannot both succeed. A
// decision is written here first and to its account afterwards. The account records the term of the decision, so that an
// earlier decision that arrives late changes nothing.
//
// It need not contain all admins: for an account that it does not contain, the account's own document decides.
//
// There is always an admin: whoever dismisses another account is an admin by the latest decision here and by their own
// account at the moment when the dismissal is written.
type Admins struct {
	document.Root
	Term    int64           `json:"term"` // of the latest decision
	Decided []AdminDecision `json:"decided"`
}

// AdminDecision is the latest decision about one account.
type AdminDecision struct {
	UserID string `json:"userId"`
	Term   int64  `json:"term"`
	Admin  bool   `json:"admin"`
}

// Appoint decides that an account is an admin, and returns the term of that decision.
func (a *Admins) Appoint(user *User) (term int64, err error) {
	if d := a.decision(user.ID); d != nil && d.Admin && d.Term > 0 && d.Term >= user.AdminTerm {
		return d.Term, document.ErrUnchanged
	}
	return a.decide(user, true), nil
}

// Dismiss decides that an account is no longer an admin, and returns the term of that decision. Errors: ErrDismissed if by
// is not an admin; ErrAdminUndecided if the account of by has to be confirmed first.
func (a *Admins) Dismiss(user, by *User) (term int64, err error) {
	switch d := a.decision(by.ID); {
	case !by.HasRole(contract.RoleAdmin), d != nil && d.Term > by.AdminTerm && !d.Admin:
		return 0, ErrDismissed
	case d != nil && d.Term > by.AdminTerm:
		return 0, ErrAdminUndecided
	case d == nil || d.Term < by.AdminTerm:
		a.record(AdminDecision{by.ID, by.AdminTerm, true})
	}
	return a.decide(user, false), nil
}

// Appointed returns the term of the decision by which an account is an admin, or 0.
func (a *Admins) Appointed(userID string) int64 {
	if d := a.decision(userID); d != nil && d.Admin {
		return d.Term
	}
	return 0
}

func (a *Admins) decision(userID string) *AdminDecision {
	i := slices.IndexFunc(a.Decided, func(d AdminDecision) bool { return d.UserID == userID })
	if i < 0 {
		return nil
	}
	return &a.Decided[i]
}

func (a *Admins) decide(user *User, admin bool) (term int64) {
	a.Term = max(a.Term, user.AdminTerm) + 1
	a.record(AdminDecision{user.ID, a.Term, admin})
	return a.Term
}

// record replaces the decision about an account. The oldest dismissals are removed.
func (a *Admins) record(d AdminDecision) {
	a.Term = max(a.Term, d.Term)
	a.Decided = slices.DeleteFunc(slices.Clone(a.Decided), func(old AdminDecision) bool { return old.UserID == d.UserID })
	a.Decided = append(a.Decided, d)
	dismissed := func(d AdminDecision) bool { return !d.Admin }
	count := 0
	for _, d := range a.Decided {
		if dismissed(d) {
			count++
		}
	}
	if count > dismissalsKept {
		oldest := slices.IndexFunc(a.Decided, dismissed)
		a.Decided = slices.Delete(a.Decided, oldest, oldest+1)
	}
}
