package servicetest_test

import (
	"errors"
	"net/http"
	"testing"

	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/service/servicetest"
	"caravan/internal/token"
)

// who answers with the subject of the caller.
func who(r *http.Request) (request.Answer, error) {
	claims, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(claims.Subject), nil
}

func TestServer(t *testing.T) {
	var s servicetest.Server
	s.Public("GET /public?limit", who)
	s.Long("GET /long", who)
	s.Anonymous("GET /anonymous", who)
	s.Internal("GET /internal", who)
	alice := token.Claims{Subject: "alice"}
	for _, c := range []struct {
		target string
		caller token.Claims
		status int
	}{
		{"/public", alice, 200},
		{"/public?limit=1", alice, 200},
		{"/public?limit=1&offset=2", alice, 400},
		{"/public", token.Claims{}, 401},
		{"/long", alice, 200},
		{"/long?limit=1", alice, 400},
		{"/anonymous", alice, 401}, // no token is read
		{"/internal", alice, 401},
		{"/internal?limit=1", alice, 400},
	} {
		w := s.Do(t, servicetest.Request{Target: c.target, Caller: c.caller})
		if w.Code != c.status {
			t.Errorf("%s by %q is %d %s; want %d", c.target, c.caller.Subject, w.Code, w.Body, c.status)
		}
		if c.status == 200 && servicetest.Decode[string](t, w) != "alice" {
			t.Errorf("%s answers %s", c.target, w.Body)
		}
	}
	s.Authenticate = func(*http.Request) (token.Claims, error) { return token.Claims{}, problem.Unauthorized("expired") }
	if w := s.Do(t, servicetest.Request{Target: "/public", Caller: alice}); servicetest.Problem(t, w).Detail != "expired" {
		t.Errorf("with a token that is refused the answer is %s", w.Body)
	}
}

func TestWithProblems(t *testing.T) {
	known := errors.New("sold out")
	var s servicetest.Server
	var result error
	routes := service.WithProblems(&s, func(err error) error {
		if errors.Is(err, known) {
			return problem.Conflict("sold-out", "Nothing is left.")
		}
		return err
	})
	answer := func(*http.Request) (request.Answer, error) { return request.NoContent(), result }
	routes.Public("GET /public", answer)
	routes.Long("GET /long", answer)
	routes.Anonymous("GET /anonymous", answer)
	routes.Internal("GET /internal", answer)
	for _, c := range []struct {
		result error
		status int
	}{{nil, 204}, {known, 409}, {problem.NotFound("thing"), 404}, {errors.New("unexpected"), 500}} {
		result = c.result
		for _, path := range []string{"/public", "/long", "/anonymous", "/internal"} {
			if w := s.Do(t, servicetest.Request{Target: path}); w.Code != c.status {
				t.Errorf("%s with %v is %d; want %d", path, c.result, w.Code, c.status)
			}
		}
	}
}
