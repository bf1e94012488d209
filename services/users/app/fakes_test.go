package app_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/internal/token"
	"caravan/services/users/app"
	"caravan/services/users/domain"
)

// fakeClock moves only when it is told to, or when somebody sleeps.
type fakeClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func (c *fakeClock) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// fakeIDs counts.
type fakeIDs struct {
	mu sync.Mutex
	n  int
}

func (i *fakeIDs) New() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.n++
	return fmt.Sprintf("01890000-0000-7000-8000-%012d", i.n)
}

// fakePasswords "hashes" in no time and counts how often it compared.
type fakePasswords struct {
	mu       sync.Mutex
	scheme   string
	salt     int
	verified int
	failure  error
}

func (p *fakePasswords) Hash(_ context.Context, password string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.salt++
	return fmt.Sprint(p.scheme, ":", p.salt, ":", password), p.failure
}

func (p *fakePasswords) Verify(_ context.Context, encoded, password string) (app.Verdict, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.verified++
	scheme, rest, _ := strings.Cut(encoded, ":")
	_, stored, _ := strings.Cut(rest, ":")
	return app.Verdict{Match: encoded != "" && stored == password, Outdated: scheme != p.scheme}, p.failure
}

// fakeSigner remembers the claims behind each token.
type fakeSigner struct {
	mu     sync.Mutex
	issued map[string]token.Claims
}

func (s *fakeSigner) Sign(claims token.Claims) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued["access-"+claims.ID] = claims
	return "access-" + claims.ID, nil
}

var policy = app.Policy{
	Issuer: "caravan", Audience: "caravan-api", AccessTTL: 5 * time.Minute,
	Customers: domain.SessionPolicy{Idle: 7 * 24 * time.Hour, Absolute: 30 * 24 * time.Hour, Grace: 20 * time.Second},
	Staff:     domain.SessionPolicy{Idle: 30 * time.Minute, Absolute: 12 * time.Hour, Grace: 20 * time.Second},
}

// world is a users service over a store in memory.
type world struct {
	*app.Accounts
	store     *documenttest.FakeStore
	clock     *fakeClock
	ids       *fakeIDs
	passwords *fakePasswords
	signer    *fakeSigner
	timeout   time.Duration // of one write
}

func newWorld() *world {
	w := &world{
		store: documenttest.NewStore(), clock: &fakeClock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, ids: &fakeIDs{},
		passwords: &fakePasswords{scheme: "new"}, signer: &fakeSigner{issued: map[string]token.Claims{}},
		timeout: 5 * time.Second,
	}
	w.Accounts = w.replica()
	return w
}

// replica is another process of the same service: it shares the store and nothing that the process remembers.
func (w *world) replica() *app.Accounts { return w.replicaOver(w.store) }

// replicaOver is a replica that reaches the store in a way of its own.
func (w *world) replicaOver(store document.Store) *app.Accounts {
	index := feed.NewIndex(store, w.clock, feed.DefaultTiming(), "replica")
	options := func(prefix string) document.Options {
		return document.Options{Prefix: prefix, Source: "users", Index: index, Clock: w.clock, IDs: w.ids, Timeout: w.timeout}
	}
	return &app.Accounts{
		Users:     document.NewRepository[domain.User](store, options("user/")),
		Admins:    document.NewRepository[domain.Admins](store, options("admins/")),
		Claims:    document.NewRepository[domain.Claim](store, options("claim/")),
		Sessions:  document.NewRepository[domain.Session](store, options("session/")),
		Registry:  document.NewChain[app.Listed](store, "user-list/", 50, options("")),
		Passwords: w.passwords, Tokens: w.signer, RefreshKey: domain.RefreshKey(strings.Repeat("k", 32)),
		Policy: policy, Clock: w.clock, IDs: w.ids, Random: rand.Reader,
		Trail: feed.Trail{Store: w.store, Source: "users", Coverage: feed.NewCoverage(feed.NewReader(w.store, w.clock, feed.DefaultTiming()))},
	}
}

const secret = "correct horse battery"

func (w *world) register(t *testing.T, email string) *domain.User {
	t.Helper()
	user, err := w.Register(t.Context(), app.Registration{Email: email, Password: secret, Name: "Somebody"})
	if err != nil {
		t.Fatalf("registering %s: %v", email, err)
	}
	return user
}

func (w *world) logIn(t *testing.T, email string) (app.Grant, app.Caller) {
	t.Helper()
	grant, err := w.LogIn(t.Context(), app.Credentials{Email: email, Password: secret})
	if err != nil {
		t.Fatalf("logging in %s: %v", email, err)
	}
	return grant, w.caller(grant)
}

func (w *world) caller(grant app.Grant) app.Caller {
	claims := w.signer.issued[grant.AccessToken]
	return app.Caller{UserID: claims.Subject, SessionID: claims.SessionID}
}

func (w *world) admin(t *testing.T) app.Caller {
	t.Helper()
	if err := w.Bootstrap(t.Context(), app.Registration{Email: "root@example.com", Password: secret, Name: "Root"}); err != nil {
		t.Fatal(err)
	}
	_, caller := w.logIn(t, "root@example.com")
	return caller
}

// events returns the types of all events in the documents whose keys start with prefix, in order of the keys.
func (w *world) events(t *testing.T, prefix string) []event.Event {
	t.Helper()
	var all []event.Event
	for _, key := range w.store.Keys() {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		var root document.Root
		w.read(t, key, &root)
		all = append(all, root.Timeline...)
	}
	return all
}

func (w *world) read(t *testing.T, key string, v any) {
	t.Helper()
	records, err := w.store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(records[key].Value, v); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
}

// plant changes a stored document behind the service's back.
func plant[T any](t *testing.T, w *world, key string, change func(*T)) {
	t.Helper()
	var doc T
	w.read(t, key, &doc)
	change(&doc)
	value, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	w.store.Overwrite(key, value)
}

// everybody pages through all accounts.
func (w *world) everybody(t *testing.T, limit int) []*domain.User {
	t.Helper()
	var all []*domain.User
	for cursor := ""; ; {
		users, next, err := w.ListUsers(t.Context(), app.UserQuery{Cursor: cursor, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, users...)
		if cursor = next; cursor == "" {
			return all
		}
	}
}

// mustBeSound audits all accounts.
func (w *world) mustBeSound(t *testing.T) {
	t.Helper()
	for cursor := ""; ; {
		audit, err := w.Audit(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		if len(audit.Findings) > 0 {
			t.Errorf("audit finds %+v", audit.Findings)
		}
		if cursor = audit.Next; cursor == "" {
			return
		}
	}
}
