// Package token signs and verifies Caravan's access tokens: JSON Web Tokens of type at+jwt (RFC 9068), signed only with
// Ed25519 (RFC 8037). It applies the rules of RFC 8725 strictly, because Caravan has both issuer and verifier: one
// algorithm, one type, three header members.
package token

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"caravan/internal/problem"
)

// Error is the reason why a token was not accepted. Compare with errors.Is. The wrapping text has details for the log
// and never contains the token.
type Error struct {
	text    string
	problem func() *problem.Problem
}

func (e *Error) Error() string { return e.text }

// Problem is the answer to the client: 401, or 503 when the keys are unavailable.
func (e *Error) Problem() *problem.Problem { return e.problem() }

var (
	// ErrInvalid means that this is not one of our tokens: its form, header, signature or claims are wrong.
	ErrInvalid = &Error{"token: invalid access token", func() *problem.Problem {
		return problem.Unauthorized("The access token is not valid.")
	}}
	// ErrExpired means that the token was valid until it expired.
	ErrExpired = &Error{"token: expired access token", func() *problem.Problem {
		return problem.Unauthorized("The access token has expired.")
	}}
	// ErrKeysUnavailable means that the token cannot be verified because the issuer's keys could not be fetched. This
	// is a 503 and never a 401: after a 401, clients would log people out during an outage.
	ErrKeysUnavailable = &Error{"token: the issuer's keys are unavailable", func() *problem.Problem {
		return problem.Unavailable("keys-unavailable", "Access tokens cannot be verified right now.", 2*time.Second)
	}}
)

// Claims are the claims of a token.
type Claims struct {
	Issuer    string    // iss
	Subject   string    // sub: the user's id
	Audience  string    // aud: exactly one
	ClientID  string    // client_id: the application that asked for the token (RFC 9068, 2.2)
	SessionID string    // sid: the session family, so that a log-out can be matched
	ID        string    // jti
	IssuedAt  time.Time // iat, whole seconds, UTC
	Expiry    time.Time // exp, whole seconds, UTC
	AuthTime  time.Time // auth_time: when the person last authenticated; zero if unknown
	// Version is the user's security version. A change of password or role increases it.
	Version     int64
	Roles       []string
	Permissions []string
}

// Can reports whether the token has the permission.
func (c Claims) Can(permission string) bool { return slices.Contains(c.Permissions, permission) }

type key struct{}

// With puts the claims of a verified token into ctx.
func With(ctx context.Context, c Claims) context.Context { return context.WithValue(ctx, key{}, c) }

// From returns the claims in ctx, and false if the caller is anonymous.
func From(ctx context.Context) (Claims, bool) {
	c, ok := ctx.Value(key{}).(Claims)
	return c, ok
}

// payload is the form of the claims in a token. Unknown members are allowed, so that a newer issuer can add some. Times
// are whole seconds (RFC 7519's NumericDate).
type payload struct {
	Issuer      string   `json:"iss"`
	Subject     string   `json:"sub"`
	Audience    string   `json:"aud"`
	ClientID    string   `json:"client_id"`
	SessionID   string   `json:"sid,omitempty"`
	ID          string   `json:"jti"`
	IssuedAt    int64    `json:"iat"`
	NotBefore   int64    `json:"nbf,omitzero"`
	Expiry      int64    `json:"exp"`
	AuthTime    int64    `json:"auth_time,omitzero"`
	Version     int64    `json:"ver,omitzero"`
	Roles       []string `json:"roles,omitempty"`
	Permissions []string `json:"permissions,omitempty"`
}

func (c Claims) encode() ([]byte, error) {
	p := payload{
		Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience, ClientID: c.ClientID,
		SessionID: c.SessionID, ID: c.ID, IssuedAt: c.IssuedAt.Unix(), Expiry: c.Expiry.Unix(),
		Version: c.Version, Roles: c.Roles, Permissions: c.Permissions,
	}
	if !c.AuthTime.IsZero() {
		p.AuthTime = c.AuthTime.Unix()
	}
	if missing := p.missing(); missing != "" {
		return nil, fmt.Errorf("signing an access token: the claim %q is missing", missing)
	}
	return json.Marshal(p)
}

// missing names the first required claim of RFC 9068, 2.2 that is absent.
func (p payload) missing() string {
	switch {
	case p.Issuer == "":
		return "iss"
	case p.Subject == "":
		return "sub"
	case p.Audience == "":
		return "aud"
	case p.ClientID == "":
		return "client_id"
	case p.ID == "":
		return "jti"
	case p.IssuedAt <= 0:
		return "iat"
	case p.Expiry <= 0:
		return "exp"
	}
	return ""
}

func (p payload) claims() Claims {
	c := Claims{
		Issuer: p.Issuer, Subject: p.Subject, Audience: p.Audience, ClientID: p.ClientID,
		SessionID: p.SessionID, ID: p.ID, Version: p.Version, Roles: p.Roles, Permissions: p.Permissions,
		IssuedAt: time.Unix(p.IssuedAt, 0).UTC(), Expiry: time.Unix(p.Expiry, 0).UTC(),
	}
	if p.AuthTime != 0 {
		c.AuthTime = time.Unix(p.AuthTime, 0).UTC()
	}
	return c
}

var errHeader = errors.New("the header is not exactly alg, kid and typ as they must be")
