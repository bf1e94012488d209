// Package auth decides at the edge who a caller is and whether they may use a route. The services verify the same token
// again and decide about their objects. The edge refuses all other callers.
package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"caravan/gateway/route"
	"caravan/internal/problem"
	"caravan/internal/token"
)

// Challenges of RFC 6750, section 3: without an error when no credentials were sent, with one when they were.
const (
	challengeMissing = `Bearer realm="caravan"`
	challengeInvalid = `Bearer realm="caravan", error="invalid_token"`
)

// Verifier verifies access tokens; *token.Verifier is one.
type Verifier interface {
	Verify(ctx context.Context, raw string) (token.Claims, error)
}

// Refusal is the error for a caller who is refused. It wraps the reason.
type Refusal struct {
	Challenge string // value of the WWW-Authenticate header; "" if there is none to send
	problem   *problem.Problem
	cause     error
}

// Error returns the reason, for the log. It never contains the token.
func (r *Refusal) Error() string { return r.cause.Error() }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.cause }

// Problem is the answer to the client. It is the same for all tokens that are not accepted, so an attacker does not
// learn which check a forged token failed.
func (r *Refusal) Problem() *problem.Problem { return r.problem }

// Identify returns the claims of the request's access token. The error is a *Refusal: 401 without valid credentials,
// 503 when tokens cannot be verified at the moment.
func Identify(r *http.Request, v Verifier) (token.Claims, error) {
	raw, err := bearer(r.Header)
	if err != nil {
		return token.Claims{}, err
	}
	claims, err := v.Verify(r.Context(), raw)
	if err == nil {
		return claims, nil
	}
	if errors.Is(err, token.ErrInvalid) || errors.Is(err, token.ErrExpired) {
		return token.Claims{}, unauthorized(challengeInvalid, err)
	}
	return token.Claims{}, &Refusal{problem: problem.From(err), cause: fmt.Errorf("verifying an access token: %w", err)}
}

// Presented reports whether the request has credentials, valid or not.
func Presented(r *http.Request) bool { return len(r.Header["Authorization"]) > 0 }

// Permit decides whether the claims allow the route. If not, it returns a *Refusal with 403.
func Permit(access route.Access, claims token.Claims) error {
	switch access.Kind {
	case route.Public, route.Optional, route.SignedIn:
		return nil
	case route.Permitted:
		for _, permission := range access.Permissions {
			if !claims.Can(permission) {
				return forbidden(access.Permissions, permission)
			}
		}
		return nil
	}
	return forbidden(nil, "a declared access")
}

// bearer returns the token of a single well-formed Authorization header (RFC 6750, section 2.1). It ignores tokens in
// queries, cookies and bodies.
func bearer(h http.Header) (string, error) {
	values := h["Authorization"]
	switch {
	case len(values) == 0:
		return "", unauthorized(challengeMissing, errors.New("no credentials"))
	case len(values) > 1:
		return "", unauthorized(challengeInvalid, errors.New("several Authorization headers"))
	}
	scheme, raw, found := strings.Cut(values[0], " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return "", unauthorized(challengeInvalid, errors.New("not the Bearer scheme"))
	}
	if !compact(raw) {
		return "", unauthorized(challengeInvalid, errors.New("not a token"))
	}
	return raw, nil
}

// compact reports whether raw looks like the compact form of a signed token: base64url and dots, at most 4 KiB.
func compact(raw string) bool {
	if raw == "" || len(raw) > token.MaxLength {
		return false
	}
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

func unauthorized(challenge string, cause error) *Refusal {
	return &Refusal{Challenge: challenge, cause: cause, problem: problem.Unauthorized("A valid access token is required.")}
}

func forbidden(needed []string, missing string) *Refusal {
	return &Refusal{
		Challenge: fmt.Sprintf(`Bearer realm="caravan", error="insufficient_scope", scope=%q`, strings.Join(needed, " ")),
		problem:   problem.Forbidden("The access token does not have the permission that this needs."),
		cause:     fmt.Errorf("the caller lacks %s", missing),
	}
}
