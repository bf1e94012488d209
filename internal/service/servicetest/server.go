// Package servicetest serves the routes of a service in tests of its adapters, as package service does in a program.
package servicetest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/token"
)

// Server is a service.Routes that needs no sidecar. Like a program, it checks the query of each request, gives the claims
// of the caller to public routes only, and writes answers and problems. It has no app token, time limits or logs.
type Server struct {
	// Authenticate, if not nil, finds the caller of a public route in the request, for example in a bearer token. The
	// zero Claims mean that nobody is logged in.
	Authenticate func(r *http.Request) (token.Claims, error)

	mux http.ServeMux
}

var _ service.Routes = (*Server)(nil)

// callerKey finds the caller of a Request in its context.
type callerKey struct{}

// Public implements service.Routes.
func (s *Server) Public(pattern string, h request.Handler) {
	s.Internal(pattern, func(r *http.Request) (request.Answer, error) {
		claims, _ := r.Context().Value(callerKey{}).(token.Claims)
		if s.Authenticate != nil {
			var err error
			if claims, err = s.Authenticate(r); err != nil {
				return request.Answer{}, err
			}
		}
		if claims.Subject != "" {
			r = r.WithContext(token.With(r.Context(), claims))
		}
		return h(r)
	})
}

// Long implements service.Routes.
func (s *Server) Long(pattern string, h request.Handler) { s.Public(pattern, h) }

// Anonymous implements service.Routes.
func (s *Server) Anonymous(pattern string, h request.Handler) { s.Internal(pattern, h) }

// Internal implements service.Routes.
func (s *Server) Internal(pattern string, h request.Handler) {
	pattern, parameters := request.SplitPattern(pattern)
	s.mux.HandleFunc(pattern, request.HTTP(func(r *http.Request) (request.Answer, error) {
		if err := parameters.Check(r.URL.RawQuery); err != nil {
			return request.Answer{}, err
		}
		return h(r)
	}))
}

// ServeHTTP serves a request without a caller, or with the one that Authenticate finds.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Request is a request to a Server.
type Request struct {
	// Method is GET if empty.
	Method string
	// Target is the path with its query.
	Target string
	// Body is sent as application/json unless Header says otherwise; "" sends none.
	Body   string
	Header map[string]string
	// Caller is the caller of the request; the zero value means no access token.
	Caller token.Claims
}

// Do sends a request and returns the answer. The test fails if an error answer is not a problem.
func (s *Server) Do(t testing.TB, q Request) *httptest.ResponseRecorder {
	t.Helper()
	ctx := context.WithValue(t.Context(), callerKey{}, q.Caller)
	r := httptest.NewRequestWithContext(ctx, q.Method, q.Target, strings.NewReader(q.Body))
	r.ContentLength = -1 // the sidecar sends every body in chunks
	if q.Body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range q.Header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	page := r.Header.Get("Accept") != "" && request.AcceptsHTML(r) // to which the answer may be a page
	if w.Code >= 400 && !page && w.Header().Get("Content-Type") != problem.ContentType {
		t.Errorf("%s %s answers %d, and not with a problem: %s", r.Method, q.Target, w.Code, w.Body)
	}
	return w
}

// Decode reads the body of an answer.
func Decode[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("the answer %d %s is not a %T: %v", w.Code, w.Body, v, err)
	}
	return v
}

// Problem reads the problem of an answer.
func Problem(t testing.TB, w *httptest.ResponseRecorder) *problem.Problem {
	t.Helper()
	p := Decode[problem.Problem](t, w)
	return &p
}
