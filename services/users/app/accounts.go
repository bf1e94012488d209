// Package app holds the use cases of accounts, one file each, and the worker that creates the first admin.
package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/users/domain"
)

// Accounts are the documents that the use cases share, with the time and the ids for changing them.
type Accounts struct {
	Users    *document.Repository[domain.User, *domain.User]
	Admins   *document.Repository[domain.Admins, *domain.Admins] // has one document, everyone
	Staff    *document.Repository[domain.Staff, *domain.Staff]   // has one document, everyone
	Claims   *document.Repository[domain.Claim, *domain.Claim]   // by domain.ClaimID
	Sessions *document.Repository[domain.Session, *domain.Session]
	Clock    clock.Clock
	IDs      id.Source

	registry *document.Chain[listed] // of all accounts, newest first
}

// NewAccounts makes Accounts over a store. options configures a repository by the prefix of its keys.
func NewAccounts(store document.Store, options func(prefix string) document.Options) *Accounts {
	common := options("")
	return &Accounts{
		Users:    document.NewRepository[domain.User](store, options("user/")),
		Admins:   document.NewRepository[domain.Admins](store, options("admins/")),
		Staff:    document.NewRepository[domain.Staff](store, document.Options{Prefix: "staff/", Clock: common.Clock, IDs: common.IDs}),
		Claims:   document.NewRepository[domain.Claim](store, options("claim/")),
		Sessions: document.NewRepository[domain.Session](store, options("session/")),
		registry: document.NewChain[listed](store, "user-list/", 50, common),
		Clock:    common.Clock, IDs: common.IDs,
	}
}

// everyone owns the one list of all accounts, and is the id of the one domain.Admins.
const everyone = "all"

// listed is an entry of the list of accounts. Each attempt to register writes one before the account, so an entry is only
// valid if the account exists and refers to it.
type listed struct {
	UserID string `json:"userId"`
	Entry  string `json:"entry"`
}

// Page reads a page of the list of all accounts, newest first, and the cursor of the next page, which is empty at the end. It
// has one element for each entry, which is nil if the entry is not valid.
func (a *Accounts) Page(ctx context.Context, cursor string, limit int) ([]*domain.User, string, error) {
	users, next, err := document.Listed(ctx, a.registry, everyone, cursor, limit, a.Users,
		func(e listed) string { return e.UserID }, func(user *domain.User, e listed) bool { return user.ListedAs == e.Entry })
	if err != nil {
		return nil, "", fmt.Errorf("reading the list of accounts: %w", err)
	}
	return users, next, nil
}

// byEmail finds the account of an address; its error is domain.ErrNoUser when there is none.
func (a *Accounts) byEmail(ctx context.Context, email domain.Email) (*domain.User, error) {
	claim, err := a.Claims.Get(ctx, domain.ClaimID(email))
	if errors.Is(err, document.ErrNotFound) {
		return nil, domain.ErrNoUser
	}
	if err != nil {
		return nil, fmt.Errorf("reading the claim of an address: %w", err)
	}
	return a.byID(ctx, claim.UserID)
}

// byID finds an account; its error is domain.ErrNoUser when there is none.
func (a *Accounts) byID(ctx context.Context, userID string) (*domain.User, error) {
	user, err := a.Users.Get(ctx, userID)
	if errors.Is(err, document.ErrNotFound) {
		return nil, domain.ErrNoUser
	}
	if err != nil {
		return nil, fmt.Errorf("reading an account: %w", err)
	}
	return user, nil
}

// ofSession returns the account of a caller if it lists the caller's session, whose access token may be older; its error is
// domain.ErrSessionEnded otherwise.
func (a *Accounts) ofSession(ctx context.Context, caller Caller) (*domain.User, error) {
	user, err := a.byID(ctx, caller.UserID)
	if errors.Is(err, domain.ErrNoUser) || err == nil && !user.HasSession(caller.SessionID, a.Clock.Now()) {
		return nil, domain.ErrSessionEnded
	}
	return user, err
}

// forgetSession removes an ended session from the list of its account.
func (a *Accounts) forgetSession(ctx context.Context, userID, sessionID string) error {
	_, err := a.Users.Update(ctx, userID, func(u *domain.User) error { return u.CloseSession(sessionID) })
	if err != nil {
		return fmt.Errorf("removing a session from its account: %w", err)
	}
	return nil
}

// Caller is the user who sends a request, by a verified access token.
type Caller struct {
	UserID    string
	SessionID string
}
