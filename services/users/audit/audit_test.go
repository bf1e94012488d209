package audit_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	shape "caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/internal/token"
	"caravan/services/users/app"
	"caravan/services/users/audit"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// fakeClock stands still.
type fakeClock struct{ at time.Time }

func (c *fakeClock) Now() time.Time                                   { return c.at }
func (c *fakeClock) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// plainPasswords are not hashed.
type plainPasswords struct{}

func (plainPasswords) Hash(_ context.Context, password string) (string, error) { return password, nil }

func (plainPasswords) Verify(_ context.Context, encoded, password string) (app.Verdict, error) {
	return app.Verdict{Match: encoded == password}, nil
}

// openSigner issues the id of the session as the access token.
type openSigner struct{}

func (openSigner) Sign(claims token.Claims) (string, error) { return claims.SessionID, nil }

// world is a users service over a store in memory.
type world struct {
	store    *documenttest.FakeStore
	clock    *fakeClock
	audit    audit.Audit
	accounts *app.Accounts
}

func newWorld() *world {
	w := &world{store: documenttest.NewStore(), clock: &fakeClock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}}
	index := feed.NewIndex(w.store, w.clock, feed.DefaultTiming(), "writer")
	w.accounts = app.NewAccounts(w.store, func(prefix string) document.Options {
		return document.Options{Prefix: prefix, Source: contract.App, Index: index, Clock: w.clock, IDs: id.Random{}}
	})
	coverage := feed.NewCoverage(feed.NewReader(w.store, w.clock, feed.DefaultTiming()))
	w.audit = audit.Audit{Accounts: w.accounts, Trail: feed.Trail{Store: w.store, Source: contract.App, Coverage: coverage}}
	return w
}

const secret = "correct horse battery"

func (w *world) register(t *testing.T, email string) *domain.User {
	t.Helper()
	applicant, err := domain.ParseApplicant(email, secret, "Ada")
	if err != nil {
		t.Fatal(err)
	}
	user, err := app.RegisterUser{
		Accounts: w.accounts, Passwords: plainPasswords{}, Mail: &app.MailTokens{Random: rand.Reader, VerificationTTL: time.Hour},
	}.Do(t.Context(), applicant)
	if err != nil {
		t.Fatal(err)
	}
	return user
}

// logIn opens a session and returns its id.
func (w *world) logIn(t *testing.T, email domain.Email) string {
	t.Helper()
	long := domain.SessionPolicy{Idle: time.Hour, Absolute: time.Hour}
	tokens := &app.Tokens{Signer: openSigner{}, RefreshKey: make(domain.RefreshKey, 32), Customers: long, Staff: long}
	logIn := app.LogIn{Accounts: w.accounts, Passwords: plainPasswords{}, Tokens: tokens, Random: rand.Reader}
	grant, err := logIn.Do(t.Context(), app.Credentials{Email: string(email), Password: secret})
	if err != nil {
		t.Fatal(err)
	}
	return grant.AccessToken
}

func (w *world) page(t *testing.T, cursor string) contract.AuditPage {
	t.Helper()
	page, err := w.audit.Page(t.Context(), shape.Request{Cursor: cursor})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// The audit goes through timelines of any length, page by page.
func TestAuditOfLongTimelines(t *testing.T) {
	w := newWorld()
	for n := range 3 {
		ada := w.register(t, fmt.Sprintf("ada%d@example.com", n))
		documenttest.Edit(t, w.store, "user/"+ada.ID, func(d *domain.User) { d.Sequence, d.TimelineSegments, d.Timeline = 1600, 100, nil })
		for segment := range 100 {
			var events []event.Event
			for i := range 16 {
				sequence := int64(segment*16 + i + 1)
				events = append(events, event.Event{ID: event.ID("users", ada.ID, sequence), Sequence: sequence, Time: w.clock.at})
			}
			value, err := json.Marshal(events)
			if err != nil {
				t.Fatal(err)
			}
			w.store.Overwrite(document.TimelineSegmentKey("user/"+ada.ID, int64(segment)), value)
		}
	}
	var all shape.Results
	pages, users := 1, 0
	for cursor := ""; ; pages++ {
		page := w.page(t, cursor)
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

// The audit finds each kind of violation when one is planted, and reports no personal data.
func TestAuditFindsPlantedViolations(t *testing.T) {
	tests := map[string]struct {
		plant     func(*testing.T, *world, *domain.User)
		invariant string
	}{
		"two users, one address": {func(t *testing.T, w *world, u *domain.User) {
			twin := w.register(t, "twin@example.com")
			documenttest.Edit(t, w.store, "user/"+twin.ID, func(d *domain.User) { d.Email = u.Email })
		}, contract.InvariantClaim},
		"claim of another": {func(t *testing.T, w *world, u *domain.User) {
			documenttest.Edit(t, w.store, "claim/"+domain.ClaimID(u.Email), func(d *domain.Claim) { d.UserID = "somebody" })
		}, contract.InvariantClaim},
		"unclaimed address": {func(t *testing.T, w *world, u *domain.User) {
			documenttest.Edit(t, w.store, "user/"+u.ID, func(d *domain.User) { d.Email = "moved@example.com" })
		}, contract.InvariantClaim},
		"address not normalized": {func(t *testing.T, w *world, u *domain.User) {
			documenttest.Edit(t, w.store, "user/"+u.ID, func(d *domain.User) { d.Email = "Ada@Example.com" })
		}, contract.InvariantClaim},
		"unknown role": {func(t *testing.T, w *world, u *domain.User) {
			documenttest.Edit(t, w.store, "user/"+u.ID, func(d *domain.User) { d.Roles = []string{"root"} })
		}, contract.InvariantRoles},
		"too many sessions": {func(t *testing.T, w *world, u *domain.User) {
			documenttest.Edit(t, w.store, "user/"+u.ID, func(d *domain.User) { d.Sessions = make([]domain.OpenSession, domain.MaxSessions+1) })
		}, contract.InvariantSessions},
		"session of another": {func(t *testing.T, w *world, u *domain.User) {
			session := w.logIn(t, u.Email)
			documenttest.Edit(t, w.store, "session/"+session, func(d *domain.Session) { d.UserID = "somebody" })
		}, contract.InvariantSessions},
		"session under another key": {func(t *testing.T, w *world, u *domain.User) {
			session := w.logIn(t, u.Email)
			documenttest.Edit(t, w.store, "session/"+session, func(d *domain.Session) { d.ID = "another" })
		}, contract.InvariantIdentity},
		"a lost event": {func(t *testing.T, w *world, u *domain.User) {
			documenttest.Edit(t, w.store, "user/"+u.ID, func(d *domain.User) { d.Timeline = nil })
		}, document.InvariantTimeline},
		"an event that the feed lacks": {func(_ *testing.T, w *world, _ *domain.User) {
			for _, key := range w.store.Keys() {
				if strings.HasPrefix(key, "feed/") && key != "feed/first" {
					w.store.Remove(key)
				}
			}
			w.clock.at = w.clock.at.Add(time.Hour)
		}, feed.InvariantIndexed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			user := w.register(t, "ada@example.com")
			if page := w.page(t, ""); len(page.Findings) > 0 || page.Next != "" {
				t.Fatalf("before the violation the audit says %+v", page)
			}
			test.plant(t, w, user)
			page := w.page(t, "")
			found := slices.ContainsFunc(page.Findings, func(f shape.Finding) bool { return f.Invariant == test.invariant })
			if !found || page.Counts["users"] == 0 {
				t.Errorf("audit %+v", page)
			}
		})
	}
}
