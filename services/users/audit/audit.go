// Package audit checks the invariants of accounts and sessions.
package audit

import (
	"context"
	"fmt"

	"caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/page"
	"caravan/services/users/app"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

const (
	// usersPerPage is how many accounts one page checks: with their sessions up to 500 documents.
	usersPerPage = 50
	// segmentsPerPage is how many timeline segments one page reads.
	segmentsPerPage = 64
)

// Audit checks the invariants of accounts. Each address has one claim, and each account must be the one in the claim of its
// address, so no two accounts have the same address.
type Audit struct {
	Accounts *app.Accounts
	Trail    feed.Trail // of the events of accounts and sessions
}

// position is the content of a cursor.
type position struct {
	// Chain is the position in the list of accounts.
	Chain string `json:"c,omitempty"`
	// User is set inside the timeline of an account. Its segments from Events on are not checked yet. Last is set if no
	// account follows it.
	User   string `json:"u,omitempty"`
	Events int64  `json:"e,omitempty"`
	Last   bool   `json:"l,omitempty"`
}

// Page checks a part of the accounts. An empty cursor starts the audit.
func (a Audit) Page(ctx context.Context, request audit.Request) (contract.AuditPage, error) {
	var at position
	begun, ready, err := a.Trail.Begin(ctx, request.Cursor, &at,
		contract.InvariantClaim, contract.InvariantIdentity, contract.InvariantRoles, contract.InvariantSessions)
	p := &pageAudit{Audit: a, AuditPage: contract.AuditPage{Page: begun}, segments: segmentsPerPage}
	switch {
	case err != nil || !ready:
		return p.AuditPage, err
	case at.User != "":
		err = p.resume(ctx, &at)
	default:
		err = p.users(ctx, &at)
	}
	if err != nil {
		return contract.AuditPage{}, fmt.Errorf("auditing: %w", err)
	}
	if at.User != "" || !at.Last {
		p.Next = page.Encode(at)
	}
	return p.AuditPage, nil
}

// pageAudit is the audit of one page.
type pageAudit struct {
	Audit
	contract.AuditPage
	// segments is how many timeline segments the page may still read.
	segments int
}

// users checks the next accounts of the list. It stops at an account whose timeline is longer than the page.
func (p *pageAudit) users(ctx context.Context, at *position) error {
	listed, next, err := p.Accounts.Page(ctx, at.Chain, usersPerPage)
	if err != nil {
		return err
	}
	var users []*domain.User
	done := len(listed)
	for i, user := range listed {
		if user == nil {
			continue
		}
		users = append(users, user)
		if at.Events, err = p.timeline(ctx, user, 0); err != nil {
			return err
		}
		if at.Events < user.TimelineSegments {
			at.User, done = user.ID, i+1
			break
		}
	}
	if err := p.checkAll(ctx, users); err != nil {
		return err
	}
	if next, err = document.CursorBefore(next, len(listed)-done); err != nil {
		return fmt.Errorf("reading the list of accounts: %w", err)
	}
	at.Chain, at.Last = next, next == ""
	return nil
}

// resume continues in the timeline of an account.
func (p *pageAudit) resume(ctx context.Context, at *position) error {
	user, err := p.Accounts.Users.Get(ctx, at.User)
	if err != nil {
		return fmt.Errorf("reading an account: %w", err)
	}
	if at.Events, err = p.timeline(ctx, user, at.Events); err != nil {
		return err
	}
	if at.Events >= user.TimelineSegments {
		at.User, at.Events = "", 0
	}
	return nil
}

// timeline checks the segments of an account's events from a number on and returns the next number.
func (p *pageAudit) timeline(ctx context.Context, user *domain.User, from int64) (int64, error) {
	return p.Trail.Segments(ctx, &p.Results, "user/"+user.ID, user.ID, &user.Root, from, &p.segments, nil)
}

// checkAll checks accounts with their claims and sessions.
func (p *pageAudit) checkAll(ctx context.Context, users []*domain.User) error {
	var claimIDs, sessionIDs []string
	for _, user := range users {
		claimIDs = append(claimIDs, domain.ClaimID(user.Email))
		for _, session := range user.Sessions {
			sessionIDs = append(sessionIDs, session.ID)
		}
	}
	claims, err := p.Accounts.Claims.GetMany(ctx, claimIDs...)
	if err != nil {
		return fmt.Errorf("reading claims: %w", err)
	}
	sessions, err := p.Accounts.Sessions.GetMany(ctx, sessionIDs...)
	if err != nil {
		return fmt.Errorf("reading sessions: %w", err)
	}
	p.Counts["users"] += int64(len(users))
	p.Counts["sessions"] += int64(len(sessions))
	for _, user := range users {
		p.Users = append(p.Users, user.ID)
		p.checkUser(user, claims[domain.ClaimID(user.Email)])
		p.checkSessions(user, sessions)
	}
	return nil
}

func (p *pageAudit) checkUser(user *domain.User, claim *domain.Claim) {
	key := "user/" + user.ID
	normalized, err := domain.ParseEmail(string(user.Email))
	p.Check(err == nil && normalized == user.Email, contract.InvariantClaim, key, "the address is not normalized")
	if claim == nil {
		claim = new(domain.Claim)
	}
	p.Check(claim.UserID == user.ID, contract.InvariantClaim, key, "the address is claimed for user %q", claim.UserID)
	err = domain.CheckRoles(user.Roles)
	p.Check(err == nil, contract.InvariantRoles, key, "%v", err)
	p.Trail.Head(&p.Results, key, user.ID, &user.Root)
}

func (p *pageAudit) checkSessions(user *domain.User, sessions map[string]*domain.Session) {
	p.Check(len(user.Sessions) <= domain.MaxSessions, contract.InvariantSessions, "user/"+user.ID, "lists %d sessions", len(user.Sessions))
	for _, listed := range user.Sessions {
		session, ok := sessions[listed.ID]
		if !ok {
			continue // recorded, and the process ended before it was opened
		}
		key := "session/" + listed.ID
		p.Check(session.ID == listed.ID, contract.InvariantIdentity, key, "contains session %s", session.ID)
		p.Check(session.UserID == user.ID, contract.InvariantSessions, key, "belongs to user %s but is listed by %s", session.UserID, user.ID)
		p.Trail.Head(&p.Results, key, listed.ID, &session.Root)
	}
}
