package service

import (
	"net/http"
	"strings"

	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/token"
)

// Caller returns the claims of who sent the request to a Public route. The error is a 401 if there is no access token.
func Caller(r *http.Request) (token.Claims, error) {
	c, ok := token.From(r.Context())
	if !ok {
		return token.Claims{}, problem.Unauthorized("Send an access token.")
	}
	return c, nil
}

// Require is Caller for routes that need a permission. The error is a 401 without an access token and a 403 without the
// permission.
func Require(r *http.Request, permission string) (token.Claims, error) {
	c, err := Caller(r)
	if err != nil {
		return token.Claims{}, err
	}
	if !c.Can(permission) {
		return token.Claims{}, problem.Forbidden("This needs the permission " + permission + ".")
	}
	return c, nil
}

// bearer returns the token of the Authorization header (RFC 6750, 2.1), or "" if there is no header.
func bearer(r *http.Request) (string, error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return "", nil
	}
	scheme, raw, found := strings.Cut(values[0], " ")
	if len(values) > 1 || !found || !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(raw) == "" {
		return "", problem.Unauthorized("Send one Authorization header: Bearer and an access token.")
	}
	return strings.TrimSpace(raw), nil
}

// headerCallerApp is what the sidecar of a caller says about it: its app id. The sidecar replaces what the caller wrote. With mTLS
// the sidecar of the callee verifies it by the certificate (k8s/overlays/dapr/callers.yaml).
const headerCallerApp = "Dapr-Caller-App-Id"

// OnlyFrom is a handler of an Internal route that answers one app. Calls of others are a 403.
func OnlyFrom(app string, h request.Handler) request.Handler {
	return func(r *http.Request) (request.Answer, error) {
		if from := r.Header[headerCallerApp]; len(from) != 1 || from[0] != app {
			return request.Answer{}, problem.Forbidden("This call is only for " + app + ".")
		}
		return h(r)
	}
}

// HeaderClientAgent is the User-Agent of the client. The gateway adds it to calls that need no access token, such as a login.
const HeaderClientAgent = "X-Client-Agent"

// ClientAddress is the network address of the client of a public route, as the gateway saw it, or "". The sidecars append theirs.
func ClientAddress(r *http.Request) string {
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ",")
	return strings.TrimSpace(first)
}
