package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	shape "caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/internal/token"
	"caravan/services/users/app"
	"caravan/services/users/audit"
	"caravan/services/users/domain"
)

// fakeClock moves only when it is told to. It adds up for how long somebody slept.
type fakeClock struct {
	mu    sync.Mutex
	at    time.Time
	slept time.Duration
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

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slept += max(d, 0)
	return ctx.Err()
}

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

var staff = domain.SessionPolicy{Idle: 30 * time.Minute, Absolute: 12 * time.Hour, Grace: 20 * time.Second}

// resetDuration is how long a request for a reset takes.
const resetDuration = time.Second

// process is one process of the users service: all its use cases.
type process struct {
	Register             app.RegisterUser
	LogIn                app.LogIn
	Refresh              app.Refresh
	LogOut               app.LogOut
	ShowProfile          app.ShowProfile
	UpdateProfile        app.UpdateProfile
	ChangePassword       app.ChangePassword
	ChangeRoles          app.ChangeRoles
	ListUsers            app.ListUsers
	RequestVerification  app.RequestVerification
	VerifyEmail          app.VerifyEmail
	RequestPasswordReset app.RequestPasswordReset
	ResetPassword        app.ResetPassword
	IssueMailToken       app.IssueMailToken
	accounts             *app.Accounts
	log                  *bytes.Buffer
}

// bootstrap creates the first admin and returns the error that Run reports or logs.
func (p *process) bootstrap(ctx context.Context, email, password, name string) error {
	var log bytes.Buffer
	b := &app.Bootstrap{
		RegisterUser: p.Register, ChangeRoles: p.ChangeRoles, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Email: email, Password: password, Name: name,
	}
	if b.Ready(ctx) == nil {
		return errors.New("it is ready before the first admin exists")
	}
	if err := b.Run(ctx); err != nil {
		return err
	}
	if err := b.Ready(ctx); err != nil {
		return err
	}
	if strings.Contains(log.String(), app.ErrBootstrap.Error()) {
		return app.ErrBootstrap
	}
	return nil
}

// world is a users service over a store in memory.
type world struct {
	*process
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
	w.process = w.replica()
	return w
}

// replica is another process of the same service: it shares the store and nothing that the process remembers.
func (w *world) replica() *process { return w.replicaOver(w.store) }

// replicaOver is a replica that reaches the store in a way of its own.
func (w *world) replicaOver(store document.Store) *process {
	index := feed.NewIndex(store, w.clock, feed.DefaultTiming(), "replica")
	accounts := app.NewAccounts(store, func(prefix string) document.Options {
		return document.Options{Prefix: prefix, Source: "users", Index: index, Clock: w.clock, IDs: w.ids, Timeout: w.timeout}
	})
	tokens := &app.Tokens{
		Signer: w.signer, RefreshKey: domain.RefreshKey(strings.Repeat("k", 32)),
		Issuer: "caravan", Audience: "caravan-api", AccessTTL: 5 * time.Minute, Staff: staff,
		Customers: domain.SessionPolicy{Idle: 7 * 24 * time.Hour, Absolute: 30 * 24 * time.Hour, Grace: 20 * time.Second},
	}
	log := new(bytes.Buffer)
	mail := &app.MailTokens{Key: domain.MailKey(strings.Repeat("m", 32)), Random: rand.Reader, VerificationTTL: 24 * time.Hour, ResetTTL: 30 * time.Minute}
	p := &process{
		Register:            app.RegisterUser{Accounts: accounts, Passwords: w.passwords, Mail: mail},
		LogIn:               app.LogIn{Accounts: accounts, Passwords: w.passwords, Tokens: tokens, Random: rand.Reader, Devices: domain.DeviceKey("devices")},
		RequestVerification: app.RequestVerification{Accounts: accounts, Mail: mail},
		VerifyEmail:         app.VerifyEmail{Accounts: accounts, Mail: mail},
		RequestPasswordReset: app.RequestPasswordReset{
			Accounts: accounts, Mail: mail, Duration: resetDuration, Log: slog.New(slog.NewTextHandler(log, nil)),
		},
		ResetPassword:  app.ResetPassword{Accounts: accounts, Mail: mail, Passwords: w.passwords},
		IssueMailToken: app.IssueMailToken{Accounts: accounts, Mail: mail},
		LogOut:         app.LogOut{Accounts: accounts},
		ShowProfile:    app.ShowProfile{Accounts: accounts},
		UpdateProfile:  app.UpdateProfile{Accounts: accounts},
		ChangePassword: app.ChangePassword{Accounts: accounts, Passwords: w.passwords},
		ChangeRoles:    app.ChangeRoles{Accounts: accounts},
		ListUsers:      app.ListUsers{Accounts: accounts},
		accounts:       accounts, log: log,
	}
	p.Refresh = app.Refresh{Accounts: accounts, Tokens: tokens, Log: slog.New(slog.NewTextHandler(p.log, nil))}
	return p
}

const secret = "correct horse battery"

func applicant(t *testing.T, email, password, name string) domain.Applicant {
	t.Helper()
	a, err := domain.ParseApplicant(email, password, name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (w *world) register(t *testing.T, email string) *domain.User {
	t.Helper()
	user, err := w.Register.Do(t.Context(), applicant(t, email, secret, "Somebody"))
	if err != nil {
		t.Fatalf("registering %s: %v", email, err)
	}
	return user
}

func (w *world) logIn(t *testing.T, email string) (app.Grant, app.Caller) {
	t.Helper()
	grant, err := w.LogIn.Do(t.Context(), app.Credentials{Email: email, Password: secret})
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
	if err := w.bootstrap(t.Context(), "root@example.com", secret, "Root"); err != nil {
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

// everybody pages through all accounts.
func (w *world) everybody(t *testing.T, limit int) []*domain.User {
	t.Helper()
	var all []*domain.User
	for cursor := ""; ; {
		users, next, err := w.ListUsers.Do(t.Context(), app.UserQuery{Cursor: cursor, Limit: limit})
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
	trail := feed.Trail{Store: w.store, Source: "users", Coverage: feed.NewCoverage(feed.NewReader(w.store, w.clock, feed.DefaultTiming()))}
	all := audit.Audit{Accounts: w.accounts, Trail: trail}
	for cursor := ""; ; {
		page, err := all.Page(t.Context(), shape.Request{Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Findings) > 0 {
			t.Errorf("audit finds %+v", page.Findings)
		}
		if cursor = page.Next; cursor == "" {
			return
		}
	}
}
