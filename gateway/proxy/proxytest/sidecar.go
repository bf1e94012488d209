// Package proxytest has a fake Dapr sidecar for the gateway's tests. It also imitates what makes daprd dangerous behind
// a public edge: headers choose the target before the URL does, and paths are cleaned before they are routed.
package proxytest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"
)

// Token is the API token that the fake sidecar requires.
const Token = "fake-sidecar-token"

// Request is a request as the fake sidecar received it.
type Request struct {
	Method, Path, RawQuery string
	Header                 http.Header
}

// FakeSidecar delivers invocations to in-process apps.
type FakeSidecar struct {
	server *httptest.Server

	mu       sync.Mutex
	apps     map[string]http.Handler
	requests []Request
	stray    []string
}

// NewFakeSidecar starts a fake sidecar on a loopback port; it stops with the test.
func NewFakeSidecar(t testing.TB) *FakeSidecar {
	s := &FakeSidecar{apps: make(map[string]http.Handler)}
	s.server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.server.Close)
	return s
}

// URL returns where the sidecar listens.
func (s *FakeSidecar) URL() *url.URL {
	u, err := url.Parse(s.server.URL)
	if err != nil {
		panic(err) // httptest makes it
	}
	return u
}

// Handle makes app answer with h. Nil removes the app, and then invoking it fails as it does in daprd.
func (s *FakeSidecar) Handle(app string, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h == nil {
		delete(s.apps, app)
		return
	}
	s.apps[app] = h
}

// Requests returns what was received so far.
func (s *FakeSidecar) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Stray returns what reached the sidecar other than as a plain invocation by URL. Each entry is a successful attack.
func (s *FakeSidecar) Stray() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.stray...)
}

func (s *FakeSidecar) serve(w http.ResponseWriter, r *http.Request) {
	app, method, stray := target(r)
	s.mu.Lock()
	s.requests = append(s.requests, Request{Method: r.Method, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Header: r.Header.Clone()})
	if stray != "" {
		s.stray = append(s.stray, stray)
	}
	handler := s.apps[app]
	s.mu.Unlock()

	switch {
	case r.Header.Get("dapr-api-token") != Token:
		http.Error(w, "invalid api token", http.StatusUnauthorized)
	case handler == nil:
		Refuse(w, http.StatusInternalServerError, "ERR_DIRECT_INVOKE", fmt.Sprintf("failed to invoke, id: %s, err: couldn't find service: %s", app, app))
	default:
		invoked := r.Clone(r.Context())
		invoked.URL.Path, invoked.URL.RawPath = method, ""
		handler.ServeHTTP(w, invoked)
	}
}

// Refuse writes an error in daprd's own form.
func Refuse(w http.ResponseWriter, status int, code, message string) {
	body, err := json.Marshal(map[string]string{"errorCode": code, "message": message})
	if err != nil {
		panic(err) // strings always encode
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// target finds app and method as daprd does (pkg/api/http/directmessaging.go). stray names what a client must not be
// able to cause.
func target(r *http.Request) (app, method, stray string) {
	if app := r.Header.Get("dapr-app-id"); app != "" {
		return app, r.URL.Path, "target by dapr-app-id: " + app
	}
	if encoded, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Basic "); ok {
		if plain, err := base64.StdEncoding.DecodeString(encoded); err == nil && strings.HasPrefix(string(plain), "dapr-app-id:") {
			return strings.TrimPrefix(string(plain), "dapr-app-id:"), r.URL.Path, "target by basic auth: " + string(plain)
		}
	}
	cleaned := path.Clean(r.URL.EscapedPath())
	rest, ok := strings.CutPrefix(cleaned, "/v1.0/invoke/")
	if !ok {
		return "", "", "another sidecar API: " + cleaned
	}
	app, method, ok = strings.Cut(rest, "/method/")
	if !ok || cleaned != r.URL.Path {
		stray = "unclean path: " + r.URL.Path
	}
	return app, "/" + method, stray
}
