package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/services/users/app"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

func TestUpdateProfile(t *testing.T) {
	w := newWorld()
	user := w.register(t, "ada@example.com")
	caller := app.Caller{UserID: user.ID}
	renamed, err := w.UpdateProfile(t.Context(), app.ProfileChange{Caller: caller, Name: " Ada Lovelace "})
	if err != nil || renamed.Name != "Ada Lovelace" {
		t.Errorf("UpdateProfile = %+v, %v", renamed, err)
	}
	if same, err := w.UpdateProfile(t.Context(), app.ProfileChange{Caller: caller, Name: "Ada Lovelace"}); err != nil || same.Revision != renamed.Revision {
		t.Errorf("changing nothing = %+v, %v", same, err)
	}
	if violations := domain.Violations(second(w.UpdateProfile(t.Context(), app.ProfileChange{Caller: caller, Name: " "}))); len(violations) != 1 {
		t.Errorf("a blank name: %v", violations)
	}
	_, err = w.UpdateProfile(t.Context(), app.ProfileChange{Caller: app.Caller{UserID: "nobody"}, Name: " Ada Lovelace "})
	if !errors.Is(err, domain.ErrNoUser) {
		t.Errorf("nobody's profile = %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

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
		if _, err := w.ChangeRoles(t.Context(), test.ask); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	_, err := w.ChangeRoles(t.Context(), app.RolesChange{Caller: admin, UserID: user.ID, Roles: []string{"boss"}})
	if violations := domain.Violations(err); len(violations) != 1 || violations[0].Field != "roles[0]" {
		t.Errorf("an unknown role: %v", err)
	}
	changed, err := w.ChangeRoles(t.Context(), app.RolesChange{Caller: admin, UserID: user.ID, Roles: []string{"admin"}})
	if err != nil || !changed.Can(contract.PermissionUsersAdmin) {
		t.Fatalf("ChangeRoles = %+v, %v", changed, err)
	}
	// The new admin takes the role from the old one, whose token still says it.
	if _, err := w.ChangeRoles(t.Context(), app.RolesChange{Caller: customer, UserID: admin.UserID, Roles: staff}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ChangeRoles(t.Context(), app.RolesChange{Caller: admin, UserID: user.ID, Roles: staff}); !errors.Is(err, app.ErrNotAllowed) {
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
			if want := fmt.Sprintf("user%03d@example.com", many-1-i); user.Email != want {
				t.Fatalf("limit %d: account %d is %s, want %s", limit, i, user.Email, want)
			}
		}
	}
	for email, want := range map[string]int{" User007@Example.com": 1, "nobody@example.com": 0} {
		if users, next, err := w.ListUsers(t.Context(), app.UserQuery{Email: email, Limit: 1}); err != nil || len(users) != want || next != "" {
			t.Errorf("by address: %d accounts, next %q, %v", len(users), next, err)
		}
	}
	if _, _, err := w.ListUsers(t.Context(), app.UserQuery{Email: "nonsense"}); len(domain.Violations(err)) != 1 {
		t.Errorf("a malformed address: %v", err)
	}
	if _, _, err := w.ListUsers(t.Context(), app.UserQuery{Cursor: "nonsense", Limit: 1}); err == nil {
		t.Errorf("a malformed cursor is accepted")
	}
	w.mustBeSound(t)
}

// The audit goes through timelines of any length, page by page.
func TestAuditOfLongTimelines(t *testing.T) {
	w := newWorld()
	for n := range 3 {
		ada := w.register(t, fmt.Sprintf("ada%d@example.com", n))
		plant(t, w, "user/"+ada.ID, func(d *domain.User) { d.Sequence, d.TimelineSegments, d.Timeline = 1600, 100, nil })
		for segment := range 100 {
			var events []event.Event
			for i := range 16 {
				sequence := int64(segment*16 + i + 1)
				events = append(events, event.Event{ID: event.ID("users", ada.ID, sequence), Sequence: sequence, Time: w.clock.Now()})
			}
			value, err := json.Marshal(events)
			if err != nil {
				t.Fatal(err)
			}
			w.store.Overwrite(document.TimelineSegmentKey("user/"+ada.ID, int64(segment)), value)
		}
	}
	var all audit.Results
	pages, users := 1, 0
	for cursor := ""; ; pages++ {
		page, err := w.Audit(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		all.Add(page.Results)
		users += len(page.Users)
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if checks := all.Checked[document.InvariantTimeline]; len(all.Findings) > 0 || checks != 3*(1600+100+1) || pages < 5 || users != 3 {
		t.Errorf("%d pages, %d users, %d checks: %v", pages, users, checks, all.Findings)
	}
}

// The audit finds each kind of violation when one is planted, and says no personal data.
func TestAuditFindsPlantedViolations(t *testing.T) {
	tests := map[string]struct {
		plant     func(*testing.T, *world, *domain.User)
		invariant string
	}{
		"two users, one address": {func(t *testing.T, w *world, u *domain.User) {
			twin := w.register(t, "twin@example.com")
			plant(t, w, "user/"+twin.ID, func(d *domain.User) { d.Email = u.Email })
		}, contract.InvariantClaim},
		"claim of another": {func(t *testing.T, w *world, u *domain.User) {
			plant(t, w, "claim/"+domain.ClaimID(u.Email), func(d *domain.Claim) { d.UserID = "somebody" })
		}, contract.InvariantClaim},
		"unclaimed address": {func(t *testing.T, w *world, u *domain.User) {
			plant(t, w, "user/"+u.ID, func(d *domain.User) { d.Email = "moved@example.com" })
		}, contract.InvariantClaim},
		"address not normalized": {func(t *testing.T, w *world, u *domain.User) {
			plant(t, w, "user/"+u.ID, func(d *domain.User) { d.Email = "Ada@Example.com" })
		}, contract.InvariantClaim},
		"unknown role": {func(t *testing.T, w *world, u *domain.User) {
			plant(t, w, "user/"+u.ID, func(d *domain.User) { d.Roles = []string{"root"} })
		}, contract.InvariantRoles},
		"too many sessions": {func(t *testing.T, w *world, u *domain.User) {
			plant(t, w, "user/"+u.ID, func(d *domain.User) { d.Sessions = make([]domain.OpenSession, domain.MaxSessions+1) })
		}, contract.InvariantSessions},
		"session of another": {func(t *testing.T, w *world, u *domain.User) {
			_, caller := w.logIn(t, u.Email)
			plant(t, w, "session/"+caller.SessionID, func(d *domain.Session) { d.UserID = "somebody" })
		}, contract.InvariantSessions},
		"session under another key": {func(t *testing.T, w *world, u *domain.User) {
			_, caller := w.logIn(t, u.Email)
			plant(t, w, "session/"+caller.SessionID, func(d *domain.Session) { d.ID = "another" })
		}, contract.InvariantIdentity},
		"a lost event": {func(t *testing.T, w *world, u *domain.User) {
			plant(t, w, "user/"+u.ID, func(d *domain.User) { d.Timeline = nil })
		}, document.InvariantTimeline},
		"an event that the feed lacks": {func(_ *testing.T, w *world, _ *domain.User) {
			for _, key := range w.store.Keys() {
				if strings.HasPrefix(key, "feed/") && key != "feed/first" {
					w.store.Remove(key)
				}
			}
			w.clock.advance(time.Hour)
		}, feed.InvariantIndexed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			user := w.register(t, "ada@example.com")
			w.mustBeSound(t)
			test.plant(t, w, user)
			page, err := w.Audit(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			found := slices.ContainsFunc(page.Findings, func(f audit.Finding) bool { return f.Invariant == test.invariant })
			if !found || page.Counts["users"] == 0 {
				t.Errorf("audit %+v", page)
			}
		})
	}
}
