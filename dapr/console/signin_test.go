package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestStaffSignIn(t *testing.T) {
	f := newFixture(t, nil)
	p := f.tryToSignIn("ada@shop.example", "correct horse")
	if p.status != http.StatusSeeOther || p.location != "/" {
		t.Fatalf("signing in answers %d to %q", p.status, p.location)
	}
	for _, cookie := range p.header.Values("Set-Cookie") {
		if !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") {
			t.Errorf("the cookie is %q", cookie)
		}
		if strings.Contains(cookie, "secret") {
			t.Error("a token is in a cookie")
		}
	}
	board := f.get("/")
	checkText(t, "the name", board.body)
	if board.status != http.StatusOK || strings.Contains(board.body, "secret") || strings.Contains(board.body, "ada@shop") {
		t.Errorf("the board answers %d, or has a token or address", board.status)
	}
	for _, token := range f.gateway.tokens[1:] {
		if token != "Bearer access-secret" {
			t.Errorf("a call had the token %q", token)
		}
	}
}

func TestSignInIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		call        string
		status      int
		want        int
		says        string
		email, pass string
	}{
		"a customer":        {"GET /v1/ops/breakers", 403, 403, "Staff permissions are needed", "a@b.example", "x"},
		"a wrong password":  {"POST /v1/sessions", 401, 401, "E-mail address or password is wrong", "a@b.example", "x"},
		"too many attempts": {"POST /v1/sessions", 429, 429, "too many attempts", "a@b.example", "x"},
		"a broken gateway":  {"POST /v1/sessions", 503, 502, "cannot sign anybody in", "a@b.example", "x"},
		"nothing":           {"POST /v1/sessions", 200, 422, "Enter your e-mail address", "", ""},
		"a long password":   {"POST /v1/sessions", 200, 422, "Enter your e-mail address", "a@b.example", strings.Repeat("x", 1025)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			f.gateway.set(test.call, test.status, f.gateway.answers[test.call])
			p := f.tryToSignIn(test.email, test.pass)
			if p.status != test.want || !strings.Contains(p.body, test.says) {
				t.Errorf("it answers %d: %s", p.status, p.body)
			}
			if name == "a customer" && len(f.gateway.called("DELETE /v1/sessions/current")) != 1 {
				t.Error("the session of no use was not ended")
			}
			if p := f.get("/"); p.location != "/sign-in?next=%2F" {
				t.Errorf("the board answers %d to %q", p.status, p.location)
			}
		})
	}
}

func TestSignInNeedsItsToken(t *testing.T) {
	f := newFixture(t, nil)
	f.get("/sign-in")
	form := url.Values{"csrf": {"guessed"}, "email": {"a@b.example"}, "password": {"x"}}
	if p := f.send(f.request(http.MethodPost, "/sign-in", form)); p.status != http.StatusForbidden {
		t.Errorf("it answers %d", p.status)
	}
	if len(f.gateway.called("POST /v1/sessions")) != 0 {
		t.Error("the gateway was called")
	}
}

func TestSignOut(t *testing.T) {
	f := newFixture(t, nil).signIn()
	if p := f.post("/sign-out"); p.status != http.StatusSeeOther {
		t.Fatalf("it answers %d", p.status)
	}
	if len(f.gateway.called("DELETE /v1/sessions/current")) != 1 {
		t.Error("the gateway's session did not end")
	}
	if p := f.get("/"); p.status != http.StatusSeeOther {
		t.Errorf("the board answers %d", p.status)
	}
}

// TestSessionEndsWithItsPermission takes the permission away from somebody who is signed in.
func TestSessionEndsWithItsPermission(t *testing.T) {
	for _, status := range []int{401, 403} {
		f := newFixture(t, nil).signIn()
		f.gateway.set("GET /v1/ops/orders", status, "")
		if p := f.get("/orders"); p.status != http.StatusSeeOther || !strings.HasPrefix(p.location, "/sign-in") {
			t.Errorf("after %d the page answers %d to %q", status, p.status, p.location)
		}
		if p := f.get("/"); p.status != http.StatusSeeOther {
			t.Errorf("after %d the board answers %d", status, p.status)
		}
	}
}

func TestLocalPath(t *testing.T) {
	for text, want := range map[string]string{
		"": "/", "/orders?q=1": "/orders?q=1", "https://evil.example/": "/", "//evil.example/x": "/", "/\\evil.example": "/", "orders": "/",
		"/a\r\nSet-Cookie: x": "/", "javascript:alert(1)": "/", "///evil.example": "/",
	} {
		if got := localPath(text); got != want {
			t.Errorf("%q leads to %q, want %q", text, got, want)
		}
	}
}

func TestSessionsAreBounded(t *testing.T) {
	h := &moving{time.Now()}
	all := newSessions(h)
	first := &session{}
	all.add(first)
	for range maxSessions {
		h.now = h.now.Add(time.Second)
		all.add(&session{})
	}
	if all.find(first.id) != nil || len(all.byID) != maxSessions {
		t.Errorf("there are %d sessions", len(all.byID))
	}
}

func TestSessionsEnd(t *testing.T) {
	h := &moving{time.Now()}
	all := newSessions(h)
	idle, used := &session{}, &session{}
	all.add(idle)
	all.add(used)
	if idle.id == used.id || len(idle.id) < 40 || idle.csrf == used.csrf {
		t.Error("ids can be guessed")
	}
	for range 13 {
		h.now = h.now.Add(idleLimit - time.Minute)
		if h.now.Sub(used.began) < ageLimit && all.find(used.id) == nil {
			t.Fatal("a session that is used ended")
		}
	}
	if all.find(used.id) != nil || all.find(idle.id) != nil || len(all.byID) != 0 {
		t.Error("sessions did not end")
	}
	if !idle.over() {
		t.Error("streams of a session that ended go on")
	}
	if all.find("") != nil || all.find("guessed") != nil {
		t.Error("there is a session without an id")
	}
}
