// Package adapters connects the use cases of accounts to the outside: HTTP in both directions, the change feed and the
// first admin's creation at start. Password hashing and keys have packages of their own below it.
package adapters

import (
	"context"
	"log/slog"

	"caravan/internal/request"
	"caravan/internal/token"
	"caravan/services/users/app"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// Accounts is what the handlers call; *app.Accounts is one.
type Accounts interface {
	Register(ctx context.Context, ask app.Registration) (*domain.User, error)
	LogIn(ctx context.Context, given app.Credentials) (app.Grant, error)
	Refresh(ctx context.Context, refreshToken string) (app.Grant, error)
	LogOut(ctx context.Context, caller app.Caller) error
	Profile(ctx context.Context, caller app.Caller) (*domain.User, error)
	UpdateProfile(ctx context.Context, ask app.ProfileChange) (*domain.User, error)
	ChangePassword(ctx context.Context, ask app.PasswordChange) error
	ChangeRoles(ctx context.Context, ask app.RolesChange) (*domain.User, error)
	ListUsers(ctx context.Context, query app.UserQuery) ([]*domain.User, string, error)
	Audit(ctx context.Context, cursor string) (contract.AuditPage, error)
}

// Keys has the public keys that verify access tokens.
type Keys interface {
	KeySet() token.KeySet
}

// Router registers routes; *service.Service is one.
type Router interface {
	Public(pattern string, handler request.Handler)
	Anonymous(pattern string, handler request.Handler)
	Internal(pattern string, handler request.Handler)
}

// handlers answers HTTP requests.
type handlers struct {
	accounts Accounts
	keys     Keys
	log      *slog.Logger
}

// Routes registers every route of the users service but the feed.
func Routes(router Router, accounts Accounts, keys Keys, log *slog.Logger) {
	h := &handlers{accounts: accounts, keys: keys, log: log}
	router.Anonymous("POST /v1/users", described(h.register))
	router.Anonymous("POST /v1/sessions", described(h.logIn))
	router.Anonymous("POST /v1/sessions/refresh", described(h.refresh))
	router.Anonymous("GET "+contract.PathJWKS, h.keySet)

	router.Public("DELETE /v1/sessions/current", described(h.logOut))
	router.Public("GET /v1/users/me", described(h.profile))
	router.Public("PATCH /v1/users/me", described(h.updateProfile))
	router.Public("PUT /v1/users/me/password", described(h.changePassword))
	router.Public("GET /v1/users?email&limit&cursor", described(h.listUsers))
	router.Public("PUT /v1/users/{id}/roles", described(h.changeRoles))

	router.Internal("POST "+contract.PathKeys, h.keySet)
	router.Internal("POST "+contract.PathAudit, described(h.audit))
}
