package app

import (
	"context"
	"fmt"

	"caravan/services/users/domain"
)

// The invariants of accounts that Audit checks.
const (
	InvariantClaim    = "users.claim"    // an account's address is normalized and its claim names the account
	InvariantIdentity = "users.identity" // a document is what its key says
	InvariantRoles    = "users.roles"    // an account has known roles, each once
	InvariantSessions = "users.sessions" // an account lists at most domain.MaxSessions sessions, all its own
)

// Finding is one broken invariant. It holds no personal data.
type Finding struct {
	Invariant string `json:"invariant"`
	Key       string `json:"key"`
	Detail    string `json:"detail"`
}

// Audit is the outcome for a part of all accounts.
type Audit struct {
	Findings []Finding      `json:"findings"`
	Counts   map[string]int `json:"counts"`
	Next     string         `json:"next,omitempty"` // where to go on; empty at the end
}

// auditPage is how many accounts one Audit looks at: with their sessions up to 500 documents.
const auditPage = 50

// Audit checks the invariants of the accounts from cursor on. As every address has one claim and every account must be
// named by the claim of its address, no two accounts share one.
func (a *Accounts) Audit(ctx context.Context, cursor string) (Audit, error) {
	users, next, err := a.pageOfUsers(ctx, cursor, auditPage)
	if err != nil {
		return Audit{}, err
	}
	claims, sessions, err := a.belongings(ctx, users)
	if err != nil {
		return Audit{}, err
	}
	audit := Audit{Findings: []Finding{}, Counts: map[string]int{"users": len(users), "sessions": len(sessions)}, Next: next}
	for _, user := range users {
		audit.checkUser(user, claims[domain.ClaimID(user.Email)])
		audit.checkSessions(user, sessions)
	}
	return audit, nil
}

// belongings reads the claims and sessions of accounts, by their ids.
func (a *Accounts) belongings(ctx context.Context, users []*domain.User) (map[string]*domain.Claim, map[string]*domain.Session, error) {
	var claimIDs, sessionIDs []string
	for _, user := range users {
		claimIDs = append(claimIDs, domain.ClaimID(user.Email))
		for _, session := range user.Sessions {
			sessionIDs = append(sessionIDs, session.ID)
		}
	}
	claims, err := a.Claims.GetMany(ctx, claimIDs...)
	if err != nil {
		return nil, nil, fmt.Errorf("reading claims: %w", err)
	}
	sessions, err := a.Sessions.GetMany(ctx, sessionIDs...)
	if err != nil {
		return nil, nil, fmt.Errorf("reading sessions: %w", err)
	}
	return claims, sessions, nil
}

func (a *Audit) checkUser(user *domain.User, claim *domain.Claim) {
	key := "user/" + user.ID
	if normalized, err := domain.NormalizeEmail(user.Email); err != nil || normalized != user.Email {
		a.find(InvariantClaim, key, "the address is not normalized")
	}
	switch {
	case claim == nil:
		a.find(InvariantClaim, key, "the address is not claimed")
	case claim.UserID != user.ID:
		a.find(InvariantClaim, key, "the address is claimed for user "+claim.UserID)
	}
	if err := domain.CheckRoles(user.Roles); err != nil {
		a.find(InvariantRoles, key, err.Error())
	}
}

func (a *Audit) checkSessions(user *domain.User, sessions map[string]*domain.Session) {
	key := "user/" + user.ID
	if len(user.Sessions) > domain.MaxSessions {
		a.find(InvariantSessions, key, fmt.Sprintf("lists %d sessions", len(user.Sessions)))
	}
	for _, listed := range user.Sessions {
		session, ok := sessions[listed.ID]
		switch {
		case !ok: // noted, and the process ended before it was opened
		case session.ID != listed.ID:
			a.find(InvariantIdentity, "session/"+listed.ID, "holds session "+session.ID)
		case session.UserID != user.ID:
			a.find(InvariantSessions, "session/"+listed.ID, "is of user "+session.UserID+" but listed by "+user.ID)
		}
	}
}

func (a *Audit) find(invariant, key, detail string) {
	a.Findings = append(a.Findings, Finding{Invariant: invariant, Key: key, Detail: detail})
}
