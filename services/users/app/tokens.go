package app

import (
	"fmt"
	"time"

	"caravan/internal/token"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// Tokens issues the tokens of sessions.
type Tokens struct {
	Signer     TokenSigner
	RefreshKey domain.RefreshKey
	Issuer     string               // of access tokens
	Audience   string               // the API that access tokens are for
	AccessTTL  time.Duration        // lifetime of an access token
	Customers  domain.SessionPolicy // of accounts whose only role is customer
	Staff      domain.SessionPolicy // of all others
}

// TokenSigner signs access tokens with the current key.
type TokenSigner interface {
	Sign(claims token.Claims) (string, error)
}

// Grant is the result of a login or a refresh.
type Grant struct {
	AccessToken  string
	RefreshToken string
	ExpiresIn    time.Duration // remaining lifetime of the access token
}

func (t *Tokens) policyOf(user *domain.User) domain.SessionPolicy {
	if len(user.Roles) == 1 && user.HasRole(contract.RoleCustomer) {
		return t.Customers
	}
	return t.Staff
}

// grant signs an access token of the session, with the permissions that the account has now.
func (t *Tokens) grant(id string, user *domain.User, session *domain.Session, refresh domain.RefreshToken, now time.Time) (Grant, error) {
	access, err := t.Signer.Sign(token.Claims{
		Issuer: t.Issuer, Subject: user.ID, Audience: t.Audience, ClientID: contract.ClientID, SessionID: session.ID, ID: id,
		IssuedAt: now, Expiry: now.Add(t.AccessTTL), AuthTime: session.AuthTime,
		Version: user.Version, Roles: user.Roles, Permissions: contract.PermissionsOf(user.Roles),
	})
	if err != nil {
		return Grant{}, fmt.Errorf("signing an access token: %w", err)
	}
	return Grant{AccessToken: access, RefreshToken: refresh.String(), ExpiresIn: t.AccessTTL}, nil
}
