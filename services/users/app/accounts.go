// Package app holds the use cases of accounts, one file each, over the ports below. It touches the outside only through
// them, so that tests and the simulation run it as it is.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/internal/token"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// UserStore keeps accounts by id; *document.Repository[domain.User] is one.
type UserStore interface {
	Get(ctx context.Context, id string) (*domain.User, error)
	GetMany(ctx context.Context, ids ...string) (map[string]*domain.User, error)
	Update(ctx context.Context, id string, decide func(*domain.User) error) (*domain.User, error)
}

// AdminStore keeps the one domain.Admins.
type AdminStore interface {
	Get(ctx context.Context, id string) (*domain.Admins, error)
	Update(ctx context.Context, id string, decide func(*domain.Admins) error) (*domain.Admins, error)
}

// ClaimStore keeps the claims of addresses by domain.ClaimID.
type ClaimStore interface {
	Get(ctx context.Context, id string) (*domain.Claim, error)
	GetMany(ctx context.Context, ids ...string) (map[string]*domain.Claim, error)
	Update(ctx context.Context, id string, decide func(*domain.Claim) error) (*domain.Claim, error)
}

// SessionStore keeps session families by id.
type SessionStore interface {
	Get(ctx context.Context, id string) (*domain.Session, error)
	GetMany(ctx context.Context, ids ...string) (map[string]*domain.Session, error)
	Update(ctx context.Context, id string, decide func(*domain.Session) error) (*domain.Session, error)
}

// Registry is the list of all accounts, newest first; *document.Chain[Listed] is one.
type Registry interface {
	Prepend(ctx context.Context, owner, entryID string, entry Listed) error
	Page(ctx context.Context, owner, cursor string, limit int) ([]Listed, string, error)
}

// everyone owns the one list of all accounts, and is the id of the one domain.Admins.
const everyone = "all"

// Listed is one entry of the list. It is written before its account, by each attempt to register, so it stands for the
// account only if the account exists and names it.
type Listed struct {
	UserID string `json:"userId"`
	Entry  string `json:"entry"`
}

// Passwords hashes passwords slowly. Both methods may answer that too many are being hashed already, with an error
// that asks to try later.
type Passwords interface {
	Hash(ctx context.Context, password string) (encoded string, err error)
	// Verify compares in the same time whatever the outcome; an empty encoded is the hash of a password nobody has.
	Verify(ctx context.Context, encoded, password string) (Verdict, error)
}

// Verdict is the outcome of comparing a password.
type Verdict struct {
	Match    bool
	Outdated bool // the hash should be made again with today's parameters
}

// TokenSigner signs access tokens with the key that is current.
type TokenSigner interface {
	Sign(claims token.Claims) (string, error)
}

// Policy bounds what is given out.
type Policy struct {
	Issuer    string               // who the access tokens are from
	Audience  string               // which API they are for
	AccessTTL time.Duration        // life of an access token
	Customers domain.SessionPolicy // of accounts with no role but customer
	Staff     domain.SessionPolicy // of all others
}

// Accounts has every use case of the users service as a method.
type Accounts struct {
	Users      UserStore
	Admins     AdminStore
	Claims     ClaimStore
	Sessions   SessionStore
	Registry   Registry
	Passwords  Passwords
	Tokens     TokenSigner
	RefreshKey domain.RefreshKey
	Policy     Policy
	Clock      clock.Clock
	IDs        id.Source
	Random     io.Reader  // cryptographically secure
	Trail      feed.Trail // of the events of accounts and sessions
}

// Caller is who asks, as a verified access token says.
type Caller struct {
	UserID    string
	SessionID string
}

// Grant is what logging in and refreshing give.
type Grant struct {
	AccessToken  string
	RefreshToken string
	ExpiresIn    time.Duration // life left of the access token
}

// userByEmail finds the account of a normalized address; its error is domain.ErrNoUser when there is none.
func (a *Accounts) userByEmail(ctx context.Context, email string) (*domain.User, error) {
	claim, err := a.Claims.Get(ctx, domain.ClaimID(email))
	if errors.Is(err, document.ErrNotFound) {
		return nil, domain.ErrNoUser
	}
	if err != nil {
		return nil, fmt.Errorf("reading the claim of an address: %w", err)
	}
	return a.userByID(ctx, claim.UserID)
}

// userByID finds an account; its error is domain.ErrNoUser when there is none.
func (a *Accounts) userByID(ctx context.Context, userID string) (*domain.User, error) {
	user, err := a.Users.Get(ctx, userID)
	if errors.Is(err, document.ErrNotFound) {
		return nil, domain.ErrNoUser
	}
	if err != nil {
		return nil, fmt.Errorf("reading an account: %w", err)
	}
	return user, nil
}

func (a *Accounts) sessionPolicy(user *domain.User) domain.SessionPolicy {
	if len(user.Roles) == 1 && user.HasRole(contract.RoleCustomer) {
		return a.Policy.Customers
	}
	return a.Policy.Staff
}

// grant signs an access token of the session that says what the account may do now.
func (a *Accounts) grant(user *domain.User, session *domain.Session, refresh domain.RefreshToken, now time.Time) (Grant, error) {
	access, err := a.Tokens.Sign(token.Claims{
		Issuer: a.Policy.Issuer, Subject: user.ID, Audience: a.Policy.Audience, ClientID: contract.ClientID,
		SessionID: session.ID, ID: a.IDs.New(),
		IssuedAt: now, Expiry: now.Add(a.Policy.AccessTTL), AuthTime: session.AuthTime,
		Version: user.Version, Roles: user.Roles, Permissions: contract.PermissionsOf(user.Roles),
	})
	if err != nil {
		return Grant{}, fmt.Errorf("signing an access token: %w", err)
	}
	return Grant{AccessToken: access, RefreshToken: refresh.String(), ExpiresIn: a.Policy.AccessTTL}, nil
}
