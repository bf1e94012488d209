// Package adapters connects the use cases of accounts to HTTP. The packages below it hash passwords and keep keys.
package adapters

import (
	"net/http"

	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/token"
	"caravan/services/users/app"
	"caravan/services/users/audit"
	"caravan/services/users/contract"
)

// API serves the routes of users.
type API struct {
	RegisterUser         app.RegisterUser
	LogIn                app.LogIn
	Refresh              app.Refresh
	LogOut               app.LogOut
	ShowProfile          app.ShowProfile
	UpdateProfile        app.UpdateProfile
	ChangePassword       app.ChangePassword
	ChangeRoles          app.ChangeRoles
	ListUsers            app.ListUsers
	ListContacts         app.ListContacts
	RequestVerification  app.RequestVerification
	VerifyEmail          app.VerifyEmail
	RequestPasswordReset app.RequestPasswordReset
	ResetPassword        app.ResetPassword
	ListStaff            app.ListStaff
	IssueMailToken       app.IssueMailToken
	Audit                audit.Audit
	// KeySet returns the public keys that verify access tokens.
	KeySet func() token.KeySet
}

// Register adds the routes.
func (a API) Register(s service.Routes) {
	s = service.WithProblems(s, problemOf)

	s.Anonymous("POST /v1/users", a.register)
	s.Anonymous("POST /v1/sessions", a.logIn)
	s.Anonymous("POST /v1/sessions/refresh", a.refresh)
	s.Anonymous("POST /v1/verifications", a.verifyEmail)
	s.Anonymous("POST /v1/password-resets", a.requestPasswordReset)
	s.Anonymous("POST /v1/password-resets/confirm", a.resetPassword)
	s.Anonymous("GET "+contract.PathJWKS, a.keySet)

	s.Public("DELETE /v1/sessions/current", a.logOut)
	s.Public("GET /v1/users/me", a.showProfile)
	s.Public("PATCH /v1/users/me", a.updateProfile)
	s.Public("PUT /v1/users/me/password", a.changePassword)
	s.Public("POST /v1/users/me/verification", a.requestVerification)
	s.Public("GET /v1/users?email&limit&cursor", a.listUsers)
	s.Public("PUT /v1/users/{id}/roles", a.changeRoles)

	s.Internal("POST "+contract.PathKeys, a.keySet)
	s.Internal("POST "+contract.PathContacts, service.OnlyFrom(contract.AppMailer, request.Function(a.ListContacts.Do)))
	s.Internal("POST "+contract.PathMailToken, service.OnlyFrom(contract.AppMailer, request.Function(a.IssueMailToken.Do)))
	s.Internal("POST "+contract.PathStaff, service.OnlyFrom(contract.AppMailer, request.Function(a.ListStaff.Do)))
	s.Internal("POST "+contract.PathAudit, request.Function(a.Audit.Page))
}

// keySet answers GET /.well-known/jwks.json, and POST /internal/keys for callers that can only post. Verifiers may cache the
// answer for five minutes: a new key is published long before it signs.
func (a API) keySet(*http.Request) (request.Answer, error) {
	return request.OK(a.KeySet()).With("Cache-Control", "public, max-age=300"), nil
}

// callerOf returns the caller of a request; the error is a 401 if there is none.
func callerOf(r *http.Request) (app.Caller, error) {
	claims, err := service.Caller(r)
	return app.Caller{UserID: claims.Subject, SessionID: claims.SessionID}, err
}
