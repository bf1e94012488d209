package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/process"
	"caravan/internal/clock"
)

// hostile is text that would be an element if a page did not escape it.
const hostile = `</td></script><img src=x onerror="pwned()"><script>pwned()</script>`

// fakeGateway answers calls of the API with what a test gives it, and keeps the calls.
type fakeGateway struct {
	*httptest.Server

	mu      sync.Mutex
	answers map[string]string // JSON by method and path
	status  map[string]int
	calls   []string // method, path and body
	tokens  []string
}

func newGateway(t *testing.T) *fakeGateway {
	t.Helper()
	g := &fakeGateway{status: map[string]int{}, answers: map[string]string{
		"POST /v1/sessions":           `{"accessToken":"access-secret","refreshToken":"refresh-secret","expiresIn":300,"tokenType":"Bearer"}`,
		"GET /v1/users/me":            `{"id":"u-1","name":"Ada ` + jsonText(hostile) + `","email":"ada@shop.example","roles":["customer","staff"],"createdAt":"2026-01-01T00:00:00Z"}`,
		"GET /v1/ops/breakers":        `{"complete":true,"items":[]}`,
		"GET /v1/ops/services":        `{"items":[]}`,
		"GET /v1/ops/orders":          `{"items":[]}`,
		"GET /v1/ops/dead-letters":    `{"items":[]}`,
		"GET /v1/ops/notifications":   `{"items":[]}`,
		"GET /v1/orders":              `{"items":[]}`,
		"GET /v1/ops/audit":           `{"complete":true,"counts":{"orders.confirmed":7},"findings":[],"invariants":[{"checked":3,"invariant":"i","service":"s","violated":0}],"startedAt":"2026-01-01T00:00:00Z"}`,
		"DELETE /v1/sessions/current": ``,
	}}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

// jsonText is a text inside of a string of JSON.
func jsonText(text string) string {
	raw, _ := json.Marshal(text)
	return strings.Trim(string(raw), `"`)
}

// ServeHTTP implements http.Handler.
func (g *fakeGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body json.RawMessage
	_ = json.NewDecoder(r.Body).Decode(&body)
	key := r.Method + " " + r.URL.Path
	g.mu.Lock()
	g.calls = append(g.calls, key+" "+string(body))
	g.tokens = append(g.tokens, r.Header.Get("Authorization"))
	status := g.status[key]
	answer, known := g.answers[key]
	g.mu.Unlock()
	switch {
	case status >= 400:
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"type":"urn:caravan:problem:test","title":"Refused","status":%d,"detail":"Refused because: %s"}`, status, jsonText(hostile))
		return
	case !known:
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"type":"urn:caravan:problem:not-found","title":"Not found","status":404}`)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case status != 0:
		w.WriteHeader(status)
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/v1/sessions"):
		w.WriteHeader(http.StatusCreated)
	}
	fmt.Fprint(w, answer)
}

// set makes the gateway answer a call with a status and JSON.
func (g *fakeGateway) set(call string, status int, answer string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answers[call], g.status[call] = answer, status
}

// called returns the calls that begin with a text.
func (g *fakeGateway) called(prefix string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var found []string
	for _, call := range g.calls {
		if strings.HasPrefix(call, prefix) {
			found = append(found, call)
		}
	}
	return found
}

// fakeLauncher is a launcher with processes that do nothing.
type fakeLauncher struct {
	mu      sync.Mutex
	report  launcher.Report
	traffic launcher.Traffic
	did     []string
}

func newLauncher() *fakeLauncher {
	status := func(name string, state process.State, pid int) launcher.ProcessReport {
		return launcher.ProcessReport{Status: process.Status{Name: name, State: state, PID: pid, Since: time.Now()}}
	}
	return &fakeLauncher{report: launcher.Report{
		Broker: "rabbitmq", Store: "sqlite", Version: "v1", Sidecar: "1.18.1",
		Processes: []launcher.ProcessReport{
			status("orders", process.Ready, 10), status("orders-daprd", process.Ready, 11), status("payments", process.Waiting, 0),
			status("broker", process.Stopped, 0), status("console", process.Ready, 12),
		},
	}}
}

// Report implements stackControl.
func (l *fakeLauncher) Report(context.Context) (launcher.Report, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.report, nil
}

// Kill implements stackControl.
func (l *fakeLauncher) Kill(_ context.Context, name string, signal syscall.Signal) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.did = append(l.did, fmt.Sprintf("%s %d", name, int(signal)))
	return nil
}

// Start implements stackControl.
func (l *fakeLauncher) Start(_ context.Context, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.did = append(l.did, "start "+name)
	return nil
}

// SetConnection implements stackControl.
func (l *fakeLauncher) SetConnection(_ context.Context, name string, state launcher.ConnectionState) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.report.Connections {
		if one.Name == name {
			l.did = append(l.did, fmt.Sprintf("%s %s", name, state))
			return nil
		}
	}
	return launcher.ErrNoFault
}

// Traffic implements stackControl.
func (l *fakeLauncher) Traffic(context.Context) (launcher.Traffic, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.traffic, nil
}

// fixture is a console on a fake gateway, and a browser that keeps cookies.
type fixture struct {
	t        *testing.T
	gateway  *fakeGateway
	launcher *fakeLauncher
	server   *server
	url      string
	browser  *http.Client
}

func newFixture(t *testing.T, change func(*settings)) *fixture {
	t.Helper()
	f := &fixture{t: t, gateway: newGateway(t), launcher: newLauncher()}
	given := settings{port: 18080, gateway: f.gateway.URL}
	if change != nil {
		change(&given)
	}
	f.server = newServer(given, clock.System{})
	f.server.control, f.server.tick = f.launcher, 20*time.Millisecond
	web := httptest.NewServer(f.server.handler())
	t.Cleanup(f.server.jobs.end)
	t.Cleanup(web.Close)
	f.url = web.URL
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	f.browser = &http.Client{Jar: jar, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return f
}

// page is an answer.
type page struct {
	status   int
	header   http.Header
	body     string
	location string
}

func (f *fixture) send(r *http.Request) page {
	f.t.Helper()
	response, err := f.browser.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return page{response.StatusCode, response.Header, string(body), response.Header.Get("Location")}
}

func (f *fixture) request(method, path string, form url.Values) *http.Request {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		f.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func (f *fixture) get(path string) page {
	f.t.Helper()
	return f.send(f.request(http.MethodGet, path, nil))
}

// post sends a form with the token of the page at a path.
func (f *fixture) post(path string, pairs ...string) page {
	f.t.Helper()
	form := url.Values{"csrf": {f.token("/")}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return f.send(f.request(http.MethodPost, path, form))
}

var tokenPattern = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// token is the token of the forms of a page.
func (f *fixture) token(path string) string {
	f.t.Helper()
	match := tokenPattern.FindStringSubmatch(f.get(path).body)
	if match == nil {
		f.t.Fatalf("%s has no form", path)
	}
	return match[1]
}

// signIn signs a member of staff in.
func (f *fixture) signIn() *fixture {
	f.t.Helper()
	if p := f.tryToSignIn("ada@shop.example", "correct horse"); p.status != http.StatusSeeOther {
		f.t.Fatalf("signing in answers %d: %s", p.status, p.body)
	}
	return f
}

func (f *fixture) tryToSignIn(email, password string) page {
	f.t.Helper()
	return f.send(f.request(http.MethodPost, "/sign-in", url.Values{"csrf": {f.token("/sign-in")}, "email": {email}, "password": {password}}))
}

// checkText fails if a hostile text is on a page as anything but text.
func checkText(t *testing.T, what, html string) {
	t.Helper()
	if strings.Contains(html, "<img") || strings.Contains(html, "<script>") {
		t.Errorf("%s has a text as an element", what)
	}
	if !strings.Contains(html, "&lt;img src=x") {
		t.Errorf("%s does not show the text", what)
	}
}
