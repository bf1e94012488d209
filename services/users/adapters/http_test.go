package adapters_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/internal/problem"
	"caravan/internal/service/servicetest"
	"caravan/internal/token"
	"caravan/services/users/adapters"
	"caravan/services/users/adapters/keyring"
	"caravan/services/users/adapters/password"
	"caravan/services/users/app"
	"caravan/services/users/audit"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

const (
	secret     = "correct horse battery"
	adminEmail = "root@example.com"
)

// client talks to a whole users service over a store in memory.
type client struct {
	t      *testing.T
	server *servicetest.Server
	keys   *keyring.Ring

	accounts *app.Accounts
}

func newClient(t *testing.T) *client {
	t.Helper()
	clk, ids, store := clock.System{}, id.Random{}, documenttest.NewStore()
	ring, err := keyring.Open(t.TempDir(), time.Minute, rand.Reader, clk)
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := password.New(password.Parameters{Memory: 8, Iterations: 1, Parallelism: 1}, 2, 64, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	accounts := app.NewAccounts(store, func(prefix string) document.Options {
		return document.Options{Prefix: prefix, Source: contract.App, Clock: clk, IDs: ids}
	})
	sessions := domain.SessionPolicy{Idle: time.Hour, Absolute: time.Hour, Grace: time.Minute}
	tokens := &app.Tokens{
		Signer: ring, RefreshKey: ring.RefreshKey(), Issuer: contract.Issuer, Audience: contract.Audience,
		AccessTTL: 5 * time.Minute, Customers: sessions, Staff: sessions,
	}
	log := slog.New(slog.DiscardHandler)
	mail := &app.MailTokens{Key: ring.RefreshKey().Derive("tokens in mails"), Random: rand.Reader, VerificationTTL: time.Hour, ResetTTL: time.Hour}
	register, changeRoles := app.RegisterUser{Accounts: accounts, Passwords: hasher, Mail: mail}, app.ChangeRoles{Accounts: accounts}
	coverage := feed.NewCoverage(feed.NewReader(store, clk, feed.DefaultTiming()))
	bootstrap := &app.Bootstrap{RegisterUser: register, ChangeRoles: changeRoles, Log: log, Email: adminEmail, Password: secret, Name: "Administrator"}
	if err := bootstrap.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	fetch := func(context.Context) (token.KeySet, error) { return ring.KeySet(), nil }
	verifier := token.NewVerifier(fetch, contract.Issuer, contract.Audience, clk)
	server := &servicetest.Server{Authenticate: func(r *http.Request) (token.Claims, error) {
		raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			return token.Claims{}, nil
		}
		return verifier.Verify(r.Context(), raw)
	}}
	adapters.API{
		RegisterUser:         register,
		LogIn:                app.LogIn{Accounts: accounts, Passwords: hasher, Tokens: tokens, Random: rand.Reader, Devices: ring.RefreshKey().Derive("devices")},
		Refresh:              app.Refresh{Accounts: accounts, Tokens: tokens, Log: log},
		LogOut:               app.LogOut{Accounts: accounts},
		ShowProfile:          app.ShowProfile{Accounts: accounts},
		UpdateProfile:        app.UpdateProfile{Accounts: accounts},
		ChangePassword:       app.ChangePassword{Accounts: accounts, Passwords: hasher},
		ChangeRoles:          changeRoles,
		ListUsers:            app.ListUsers{Accounts: accounts},
		ListContacts:         app.ListContacts{Accounts: accounts},
		RequestVerification:  app.RequestVerification{Accounts: accounts, Mail: mail},
		VerifyEmail:          app.VerifyEmail{Accounts: accounts, Mail: mail},
		RequestPasswordReset: app.RequestPasswordReset{Accounts: accounts, Mail: mail, Log: log},
		ResetPassword:        app.ResetPassword{Accounts: accounts, Mail: mail, Passwords: hasher},
		IssueMailToken:       app.IssueMailToken{Accounts: accounts, Mail: mail},
		Audit:                audit.Audit{Accounts: accounts, Trail: feed.Trail{Store: store, Source: contract.App, Coverage: coverage}},
		KeySet:               ring.KeySet,
	}.Register(server)
	return &client{t, server, ring, accounts}
}

// send makes a request and decodes the answer, of which it wants the status.
func (c *client) send(status int, method, path, bearer, body string, answer any) *httptest.ResponseRecorder {
	c.t.Helper()
	q := servicetest.Request{Method: method, Target: path, Body: body}
	if bearer != "" {
		q.Header = map[string]string{"Authorization": "Bearer " + bearer}
	}
	return c.do(status, q, answer)
}

// called is a call of another app.
func (c *client) called(status int, from, path, body string, answer any) *httptest.ResponseRecorder {
	c.t.Helper()
	return c.do(status, servicetest.Request{Method: "POST", Target: path, Body: body, Header: map[string]string{"dapr-caller-app-id": from}}, answer)
}

func (c *client) do(status int, q servicetest.Request, answer any) *httptest.ResponseRecorder {
	c.t.Helper()
	w := c.server.Do(c.t, q)
	if w.Code != status {
		c.t.Fatalf("%s %s = %d %s, want %d", q.Method, q.Target, w.Code, w.Body, status)
	}
	if answer != nil {
		if err := json.Unmarshal(w.Body.Bytes(), answer); err != nil {
			c.t.Fatalf("%s %s answers %q: %v", q.Method, q.Target, w.Body, err)
		}
	}
	return w
}

type grant struct {
	AccessToken, RefreshToken, TokenType string
	ExpiresIn                            int
}

func (c *client) logIn(email, password string) grant {
	c.t.Helper()
	var given grant
	c.send(201, "POST", "/v1/sessions", "", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password), &given)
	return given
}

type user struct {
	ID, Email, Name, CreatedAt string
	Roles                      []string
}

func (c *client) register(email string) user {
	c.t.Helper()
	var made user
	w := c.send(201, "POST", "/v1/users", "", fmt.Sprintf(`{"email":%q,"password":%q,"name":"Ada"}`, email, secret), &made)
	if strings.Contains(strings.ToLower(w.Body.String()), "hash") {
		c.t.Errorf("the answer has internals: %s", w.Body)
	}
	return made
}

func TestJourney(t *testing.T) {
	c := newClient(t)
	made := c.register(" Ada@Example.com")
	if made.Email != "ada@example.com" || made.Name != "Ada" || !slices.Equal(made.Roles, []string{"customer"}) {
		t.Errorf("registered %+v", made)
	}
	if _, err := time.Parse(time.RFC3339, made.CreatedAt); err != nil || !id.Valid(made.ID) {
		t.Errorf("registered %+v: %v", made, err)
	}
	c.send(409, "POST", "/v1/users", "", fmt.Sprintf(`{"email":"ada@example.com","password":%q,"name":"Eve"}`, secret), nil)

	first := c.logIn("ada@example.com", secret)
	if first.TokenType != "Bearer" || first.ExpiresIn != 300 {
		t.Errorf("grant %+v", first)
	}
	var me user
	c.send(200, "GET", "/v1/users/me", first.AccessToken, "", &me)
	if me.ID != made.ID {
		t.Errorf("me is %+v", me)
	}
	c.send(200, "PATCH", "/v1/users/me", first.AccessToken, `{"name":"Ada Lovelace"}`, &me)
	if me.Name != "Ada Lovelace" {
		t.Errorf("renamed %+v", me)
	}
	var second grant
	c.send(201, "POST", "/v1/sessions/refresh", "an expired token", fmt.Sprintf(`{"refreshToken":%q}`, first.RefreshToken), &second)
	other := c.logIn("ada@example.com", secret)
	c.send(204, "PUT", "/v1/users/me/password", second.AccessToken,
		fmt.Sprintf(`{"currentPassword":%q,"newPassword":"another good one"}`, secret), nil)
	c.send(401, "POST", "/v1/sessions/refresh", "", fmt.Sprintf(`{"refreshToken":%q}`, other.RefreshToken), nil)
	c.send(401, "PUT", "/v1/users/me/password", other.AccessToken, `{"currentPassword":"another good one","newPassword":"a third good one"}`, nil)
	c.send(204, "DELETE", "/v1/sessions/current", second.AccessToken, "", nil)
	c.send(204, "DELETE", "/v1/sessions/current", second.AccessToken, "", nil)
	c.send(401, "POST", "/v1/sessions/refresh", "", fmt.Sprintf(`{"refreshToken":%q}`, second.RefreshToken), nil)
	c.logIn("ada@example.com", "another good one")
}

func TestAdminJourney(t *testing.T) {
	c := newClient(t)
	made := c.register("sam@example.com")
	admin := c.logIn(adminEmail, secret)
	var list struct {
		Items []user
		Next  string
	}
	c.send(200, "GET", "/v1/users?limit=1", admin.AccessToken, "", &list)
	if len(list.Items) != 1 || list.Items[0].ID != made.ID || list.Next == "" {
		t.Errorf("first page %+v", list)
	}
	next := list.Next
	list.Items, list.Next = nil, ""
	c.send(200, "GET", "/v1/users?limit=1&cursor="+next, admin.AccessToken, "", &list)
	if len(list.Items) != 1 || list.Items[0].Email != adminEmail || list.Next != "" {
		t.Errorf("second page %+v", list)
	}
	w := c.send(200, "GET", "/v1/users?email=nobody@example.com", admin.AccessToken, "", nil)
	if got := w.Body.String(); got != `{"items":[]}` {
		t.Errorf("no match is %s", got)
	}
	var changed user
	c.send(200, "PUT", "/v1/users/"+made.ID+"/roles", admin.AccessToken, `{"roles":["staff"]}`, &changed)
	if !slices.Equal(changed.Roles, []string{"staff"}) {
		t.Errorf("changed %+v", changed)
	}
	staff := c.logIn("sam@example.com", secret)
	c.send(403, "GET", "/v1/users", staff.AccessToken, "", nil)
	c.send(403, "PUT", "/v1/users/"+made.ID+"/roles", staff.AccessToken, `{"roles":["admin"]}`, nil)
	c.send(409, "PUT", "/v1/users/"+list.Items[0].ID+"/roles", admin.AccessToken, `{"roles":["staff"]}`, nil)
	c.send(404, "PUT", "/v1/users/01890000-0000-7000-8000-000000000000/roles", admin.AccessToken, `{"roles":["staff"]}`, nil)
	c.send(404, "PUT", "/v1/users/nobody/roles", admin.AccessToken, `{"roles":["staff"]}`, nil)
}

func TestContactsOfUsers(t *testing.T) {
	c := newClient(t)
	ada, bob := c.register("ada@example.com"), c.register("bob@example.com")
	var answer []contract.Contact
	nobody := "01890000-0000-7000-8000-000000000000"
	c.called(200, contract.AppMailer, contract.PathContacts, fmt.Sprintf(`{"userIds":[%q,%q,%q,%q,""]}`, bob.ID, nobody, ada.ID, bob.ID), &answer)
	if len(answer) != 2 || answer[0] != (contract.Contact{UserID: bob.ID, Email: "bob@example.com"}) || answer[1].UserID != ada.ID {
		t.Errorf("the answer is %+v", answer)
	}
	if w := c.called(200, contract.AppMailer, contract.PathContacts, `{"userIds":[]}`, nil); w.Body.String() != "[]\n" && w.Body.String() != "[]" {
		t.Errorf("no contact is %q", w.Body)
	}
	many := strings.Repeat(`"`+nobody+`",`, contract.MaxContacts) + `"` + nobody + `"`
	c.called(400, contract.AppMailer, contract.PathContacts, `{"userIds":[`+many+`]}`, nil)
}

func TestInternalRoutes(t *testing.T) {
	c := newClient(t)
	c.register("ada@example.com")
	var first contract.AuditPage
	w := c.send(200, "POST", contract.PathAudit, "", `{"cursor":""}`, &first)
	if first.Counts["users"] != 2 || !strings.Contains(w.Body.String(), `"findings":[]`) {
		t.Errorf("audit %s", w.Body)
	}
	var public, internal token.KeySet
	c.send(200, "GET", contract.PathJWKS, "an expired token", "", &public)
	w = c.send(200, "POST", contract.PathKeys, "", `{}`, &internal)
	if len(public.Keys) != 1 || len(internal.Keys) != 1 || public.Keys[0].ID != c.keys.KeySet().Keys[0].ID {
		t.Errorf("keys %v and %v", public, internal)
	}
	if strings.Contains(w.Body.String(), `"d"`) || !strings.Contains(w.Header().Get("Cache-Control"), "max-age=300") {
		t.Errorf("key set %s, Cache-Control %s", w.Body, w.Header().Get("Cache-Control"))
	}
}

func TestBadInputNamesItsFields(t *testing.T) {
	c := newClient(t)
	made := c.register("ada@example.com")
	ada := c.logIn("ada@example.com", secret).AccessToken
	admin := c.logIn(adminEmail, secret).AccessToken
	roles := "/v1/users/" + made.ID + "/roles"
	tests := map[string]struct {
		method, path, bearer, body string
		status                     int
		slug                       string
		fields                     []string
	}{
		"register nothing":       {"POST", "/v1/users", "", `{}`, 400, "invalid-request", []string{"email", "password", "name"}},
		"register nonsense":      {"POST", "/v1/users", "", `{"email":"x","password":"y","name":"\t"}`, 400, "invalid-request", []string{"email", "password", "name"}},
		"register half":          {"POST", "/v1/users", "", `{"email":"x","password":"Password123"}`, 400, "invalid-request", []string{"name", "email", "password"}},
		"register a role":        {"POST", "/v1/users", "", `{"email":"e@example.com","password":"correct horse","name":"E","roles":["admin"]}`, 400, "invalid-request", []string{"roles"}},
		"register a number":      {"POST", "/v1/users", "", `{"email":"e@example.com","password":12345678,"name":"E"}`, 400, "invalid-request", []string{"password"}},
		"register twice in one":  {"POST", "/v1/users", "", `{"email":"e@example.com","email":"f@example.com","password":"correct horse","name":"E"}`, 400, "invalid-request", []string{"email"}},
		"register no JSON":       {"POST", "/v1/users", "", `email=x`, 400, "malformed-request", nil},
		"register too much":      {"POST", "/v1/users", "", `{"name":"` + strings.Repeat("x", 70<<10) + `"}`, 413, "too-large", nil},
		"common password":        {"POST", "/v1/users", "", `{"email":"e@example.com","password":"Password123","name":"E"}`, 400, "invalid-request", []string{"password"}},
		"taken":                  {"POST", "/v1/users", "", `{"email":"ADA@example.com","password":"correct horse","name":"E"}`, 409, "email-taken", nil},
		"log in nothing":         {"POST", "/v1/sessions", "", `{}`, 400, "invalid-request", []string{"email", "password"}},
		"log in huge":            {"POST", "/v1/sessions", "", `{"email":"ada@example.com","password":"` + strings.Repeat("x", 1001) + `"}`, 400, "invalid-request", []string{"password"}},
		"refresh nothing":        {"POST", "/v1/sessions/refresh", "", `{}`, 400, "invalid-request", []string{"refreshToken"}},
		"refresh nonsense":       {"POST", "/v1/sessions/refresh", "", `{"refreshToken":"x"}`, 401, "invalid-refresh-token", nil},
		"refresh by access":      {"POST", "/v1/sessions/refresh", "", `{"refreshToken":"` + ada + `"}`, 401, "invalid-refresh-token", nil},
		"log out nobody":         {"DELETE", "/v1/sessions/current", "", ``, 401, "unauthorized", nil},
		"nobody's profile":       {"GET", "/v1/users/me", "", ``, 401, "unauthorized", nil},
		"nobody renames":         {"PATCH", "/v1/users/me", "", `{"name":"x"}`, 401, "unauthorized", nil},
		"change own roles":       {"PATCH", "/v1/users/me", ada, `{"roles":["admin"]}`, 400, "invalid-request", []string{"roles"}},
		"change own address":     {"PATCH", "/v1/users/me", ada, `{"email":"e@example.com"}`, 400, "invalid-request", []string{"email"}},
		"change nothing":         {"PATCH", "/v1/users/me", ada, `{}`, 400, "invalid-request", []string{"name"}},
		"blank name":             {"PATCH", "/v1/users/me", ada, `{"name":" "}`, 400, "invalid-request", []string{"name"}},
		"long name":              {"PATCH", "/v1/users/me", ada, `{"name":"` + strings.Repeat("x", 101) + `"}`, 400, "invalid-request", []string{"name"}},
		"password of nobody":     {"PUT", "/v1/users/me/password", "", `{}`, 401, "unauthorized", nil},
		"password nothing":       {"PUT", "/v1/users/me/password", ada, `{}`, 400, "invalid-request", []string{"currentPassword", "newPassword"}},
		"password wrong current": {"PUT", "/v1/users/me/password", ada, `{"currentPassword":"wrong one","newPassword":"a good new one"}`, 400, "invalid-request", []string{"currentPassword"}},
		"password weak":          {"PUT", "/v1/users/me/password", ada, `{"currentPassword":"` + secret + `","newPassword":"short"}`, 400, "invalid-request", []string{"newPassword"}},
		"password half":          {"PUT", "/v1/users/me/password", ada, `{"newPassword":"short"}`, 400, "invalid-request", []string{"currentPassword", "newPassword"}},
		"password own address":   {"PUT", "/v1/users/me/password", ada, `{"currentPassword":"` + secret + `","newPassword":"ada@example.com"}`, 400, "invalid-request", []string{"newPassword"}},
		"list without a token":   {"GET", "/v1/users", "", ``, 401, "unauthorized", nil},
		"list as customer":       {"GET", "/v1/users", ada, ``, 403, "forbidden", nil},
		"list too much":          {"GET", "/v1/users?limit=101", admin, ``, 400, "invalid-request", []string{"limit"}},
		"list nonsense":          {"GET", "/v1/users?cursor=%21", admin, ``, 400, "invalid-request", []string{"cursor"}},
		"list malformed email":   {"GET", "/v1/users?email=x", admin, ``, 400, "invalid-request", []string{"email"}},
		"no roles":               {"PUT", roles, admin, `{}`, 400, "invalid-request", []string{"roles"}},
		"empty roles":            {"PUT", roles, admin, `{"roles":[]}`, 400, "invalid-request", []string{"roles"}},
		"unknown role":           {"PUT", roles, admin, `{"roles":["staff","boss"]}`, 400, "invalid-request", []string{"roles[1]"}},
		"role of wrong type":     {"PUT", roles, admin, `{"roles":["staff",1]}`, 400, "invalid-request", []string{"roles[1]"}},
		"audit nonsense":         {"POST", contract.PathAudit, "", `{"cursor":"%"}`, 400, "invalid-request", []string{"cursor"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := &client{t, c.server, c.keys, c.accounts}
			var p problem.Problem
			c.send(test.status, test.method, test.path, test.bearer, test.body, &p)
			var fields []string
			for _, field := range p.Errors {
				fields = append(fields, field.Field)
			}
			if p.Slug() != test.slug || !slices.Equal(fields, test.fields) {
				t.Errorf("%s of %v, want %s of %v", p.Slug(), fields, test.slug, test.fields)
			}
		})
	}
}

// The answer to a wrong password says nothing about whether the account exists.
func TestLogInAnswersAlike(t *testing.T) {
	c := newClient(t)
	c.register("ada@example.com")
	wrong := c.send(401, "POST", "/v1/sessions", "", `{"email":"ada@example.com","password":"wrong password"}`, nil)
	for _, email := range []string{"nobody@example.com", "nonsense"} {
		unknown := c.send(401, "POST", "/v1/sessions", "", fmt.Sprintf(`{"email":%q,"password":"wrong password"}`, email), nil)
		if unknown.Body.String() != wrong.Body.String() || !slices.Equal(unknown.Header().Values("WWW-Authenticate"), wrong.Header().Values("WWW-Authenticate")) {
			t.Errorf("%s answers %s, a wrong password %s", email, unknown.Body, wrong.Body)
		}
	}
}
