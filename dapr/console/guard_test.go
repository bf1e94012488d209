package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestOtherSitesAreKeptOut(t *testing.T) {
	f := newFixture(t, nil).signIn()
	token := f.token("/")
	for name, change := range map[string]func(*http.Request, url.Values){
		"no token":        func(_ *http.Request, form url.Values) { form.Del("csrf") },
		"a wrong token":   func(_ *http.Request, form url.Values) { form.Set("csrf", "guessed") },
		"another origin":  func(r *http.Request, _ url.Values) { r.Header.Set("Origin", "https://evil.example") },
		"another site":    func(r *http.Request, _ url.Values) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"a sister site":   func(r *http.Request, _ url.Values) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"a huge form":     func(_ *http.Request, form url.Values) { form.Set("x", strings.Repeat("x", maxForm)) },
		"a rebound name":  func(r *http.Request, _ url.Values) { r.Host = "evil.example:18080" },
		"a local name":    func(r *http.Request, _ url.Values) { r.Host = "127.0.0.1.evil.example" },
		"another address": func(r *http.Request, _ url.Values) { r.Host = "192.0.2.1:18080" },
	} {
		t.Run(name, func(t *testing.T) {
			form := url.Values{"csrf": {token}, "count": {"1"}}
			probe := f.request(http.MethodPost, "/break/orders", nil)
			change(probe, form)
			r := f.request(http.MethodPost, "/break/orders", form)
			r.Header, r.Host = probe.Header, probe.Host
			if p := f.send(r); p.status != http.StatusForbidden && p.status != http.StatusMisdirectedRequest {
				t.Errorf("it answers %d", p.status)
			}
		})
	}
	if calls := f.gateway.called("POST /v1/orders"); len(calls) != 0 {
		t.Errorf("the gateway got %q", calls)
	}
	if p := f.post("/break/orders", "count", "1"); p.status != http.StatusSeeOther {
		t.Errorf("the page's own form answers %d", p.status)
	}
}

func TestEveryFormNeedsItsToken(t *testing.T) {
	f := newFixture(t, nil).signIn()
	for _, path := range []string{
		"/orders/o-1/retry", "/orders/o-1/cancel", "/orders/o-1/refund", "/break/orders", "/break/processes/orders", "/letters/replay",
		"/letters/l-1/replay", "/letters/batches/b-1/cancel", "/sign-out",
	} {
		if p := f.send(f.request(http.MethodPost, path, url.Values{"action": {"kill"}})); p.status != http.StatusForbidden {
			t.Errorf("%s answers %d without a token", path, p.status)
		}
	}
	if len(f.launcher.did) != 0 || len(f.gateway.called("POST /v1/ops")) != 0 {
		t.Error("something was done")
	}
}

func TestEveryPageNeedsASession(t *testing.T) {
	f := newFixture(t, nil)
	for _, path := range []string{"/", "/orders", "/orders/o-1", "/orders/o-1/text", "/break", "/letters"} {
		if p := f.get(path); p.status != http.StatusSeeOther || !strings.HasPrefix(p.location, "/sign-in?next=") {
			t.Errorf("%s answers %d to %q", path, p.status, p.location)
		}
	}
	for _, path := range []string{"/board/stream", "/orders/o-1/stream", "/break/stream", "/letters/stream"} {
		if p := f.get(path); p.status != http.StatusOK || !strings.HasPrefix(p.body, "event: signed-out\n") {
			t.Errorf("%s answers %d: %s", path, p.status, p.body)
		}
	}
	if len(f.gateway.called("")) != 0 {
		t.Error("the gateway was called")
	}
}

func TestHeaders(t *testing.T) {
	f := newFixture(t, nil)
	for _, path := range []string{"/sign-in", "/static/console.js", "/static/console.css", "/nothing", "/healthz"} {
		h := f.get(path).header
		if h.Get("Content-Security-Policy") != pagePolicy || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s has the headers %v", path, h)
		}
	}
	for path, status := range map[string]int{"/static/layout.html": 404, "/static/..%2fmain.go": 404, "/nothing": 404, "/healthz": 204} {
		if p := f.get(path); p.status != status {
			t.Errorf("%s answers %d, want %d", path, p.status, status)
		}
	}
}

// TestPagesNeedNothingElse looks for what the policy would refuse: styles and scripts in pages, and addresses of other sites.
func TestPagesNeedNothingElse(t *testing.T) {
	entries, err := files.ReadDir("pages")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		raw, err := files.ReadFile("pages/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{" style=", "<style", " onclick", " onsubmit", "javascript:", "http://", "https://", "<img", "<iframe"} {
			if strings.Contains(string(raw), bad) {
				t.Errorf("%s has %q", entry.Name(), bad)
			}
		}
		if strings.Count(string(raw), "<script") != strings.Count(string(raw), `<script type="module" src="/static/console.js"></script>`) {
			t.Errorf("%s has a script", entry.Name())
		}
	}
}

func TestLoopbackName(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1:80": true, "127.0.0.1": true, "localhost:8080": true, "LOCALHOST": true, "[::1]:80": true, "127.9.9.9": true,
		"": false, "example.com": false, "localhost.evil.example": false, "10.0.0.1:80": false, "console": false,
	} {
		if got := loopbackName(host); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}
