package app

import (
	"context"
	"fmt"

	"caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/page"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

const (
	// auditUsers is how many accounts one page looks at: with their sessions up to 500 documents.
	auditUsers = 50
	// auditSegments is how many timeline segments are read for one page.
	auditSegments = 64
)

// invariants are all that a page checks.
var invariants = append([]string{
	contract.InvariantClaim, contract.InvariantIdentity, contract.InvariantRoles, contract.InvariantSessions,
}, feed.TrailInvariants...)

// auditPlace is the content of a cursor.
type auditPlace struct {
	// Chain is the place in the list of accounts.
	Chain string `json:"c,omitempty"`
	// User is set inside the timeline of one account, whose segments from Events on are still to come; Last says that no
	// account follows it.
	User   string `json:"u,omitempty"`
	Events int64  `json:"e,omitempty"`
	Last   bool   `json:"l,omitempty"`
}

// Audit checks the invariants of the accounts from a cursor on. As every address has one claim and every account must be
// named by the claim of its address, no two accounts share one.
func (a *Accounts) Audit(ctx context.Context, cursor string) (contract.AuditPage, error) {
	var at auditPlace
	if err := page.Decode(cursor, &at); err != nil {
		return contract.AuditPage{}, err
	}
	if cursor == "" {
		a.Trail.Coverage.Restart()
	}
	p := &auditPage{AuditPage: contract.AuditPage{Page: audit.NewPage(invariants...)}, accounts: a, segments: auditSegments}
	complete, err := a.Trail.Coverage.Extend(ctx)
	if err != nil {
		return contract.AuditPage{}, fmt.Errorf("auditing: %w", err)
	}
	if !complete {
		p.Next = page.Encode(at)
		return p.AuditPage, nil
	}
	if at.User != "" {
		err = p.resume(ctx, &at)
	} else {
		err = p.users(ctx, &at)
	}
	if err != nil {
		return contract.AuditPage{}, fmt.Errorf("auditing: %w", err)
	}
	return p.AuditPage, nil
}

// auditPage is a page while it is filled.
type auditPage struct {
	contract.AuditPage
	accounts *Accounts
	// segments is how many timeline segments the page may still read.
	segments int
}

// goOn says where to: to the rest of an account, to the next ones, or nowhere.
func (p *auditPage) goOn(at auditPlace) {
	if at.User != "" || !at.Last {
		p.Next = page.Encode(at)
	}
}

// users checks the next accounts of the list. It ends at one whose timeline is longer than the page.
func (p *auditPage) users(ctx context.Context, at *auditPlace) error {
	entries, next, err := p.accounts.Registry.Page(ctx, everyone, at.Chain, auditUsers)
	if err != nil {
		return fmt.Errorf("reading the list of accounts: %w", err)
	}
	ids := make([]string, len(entries))
	for i, entry := range entries {
		ids[i] = entry.UserID
	}
	found, err := p.accounts.Users.GetMany(ctx, ids...)
	if err != nil {
		return fmt.Errorf("reading accounts: %w", err)
	}
	var users []*domain.User
	done := len(entries)
	for i, entry := range entries {
		user, ok := found[entry.UserID]
		if !ok || user.ListedAs != entry.Entry {
			continue // listed by an attempt that did not make the account
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
	if next, err = document.CursorBefore(next, len(entries)-done); err != nil {
		return fmt.Errorf("reading the list of accounts: %w", err)
	}
	at.Chain, at.Last = next, next == ""
	p.goOn(*at)
	return nil
}

// resume goes on in the timeline of one account.
func (p *auditPage) resume(ctx context.Context, at *auditPlace) error {
	user, err := p.accounts.Users.Get(ctx, at.User)
	if err != nil {
		return fmt.Errorf("reading an account: %w", err)
	}
	if at.Events, err = p.timeline(ctx, user, at.Events); err != nil {
		return err
	}
	if at.Events >= user.TimelineSegments {
		at.User, at.Events = "", 0
	}
	p.goOn(*at)
	return nil
}

// timeline checks the segments of an account's events from one on, as far as the page goes, and returns the next one.
func (p *auditPage) timeline(ctx context.Context, user *domain.User, from int64) (int64, error) {
	for ; from < user.TimelineSegments && p.segments > 0; from++ {
		p.segments--
		if _, err := p.accounts.Trail.Segment(ctx, &p.Results, "user/"+user.ID, user.ID, &user.Root, from); err != nil {
			return from, err
		}
	}
	return from, nil
}

// checkAll checks accounts with their claims and sessions.
func (p *auditPage) checkAll(ctx context.Context, users []*domain.User) error {
	claims, sessions, err := p.accounts.belongings(ctx, users)
	if err != nil {
		return err
	}
	p.Counts["users"] += int64(len(users))
	p.Counts["sessions"] += int64(len(sessions))
	for _, user := range users {
		p.AuditPage.Users = append(p.AuditPage.Users, user.ID)
		p.checkUser(user, claims[domain.ClaimID(user.Email)])
		p.checkSessions(user, sessions)
	}
	return nil
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

func (p *auditPage) checkUser(user *domain.User, claim *domain.Claim) {
	key := "user/" + user.ID
	normalized, err := domain.NormalizeEmail(user.Email)
	p.Check(err == nil && normalized == user.Email, contract.InvariantClaim, key, "the address is not normalized")
	if claim == nil {
		claim = new(domain.Claim)
	}
	p.Check(claim.UserID == user.ID, contract.InvariantClaim, key, "the address is claimed for user %q", claim.UserID)
	err = domain.CheckRoles(user.Roles)
	p.Check(err == nil, contract.InvariantRoles, key, "%v", err)
	p.accounts.Trail.Head(&p.Results, key, user.ID, &user.Root)
}

func (p *auditPage) checkSessions(user *domain.User, sessions map[string]*domain.Session) {
	p.Check(len(user.Sessions) <= domain.MaxSessions, contract.InvariantSessions, "user/"+user.ID, "lists %d sessions", len(user.Sessions))
	for _, listed := range user.Sessions {
		session, ok := sessions[listed.ID]
		if !ok {
			continue // noted, and the process ended before it was opened
		}
		key := "session/" + listed.ID
		p.Check(session.ID == listed.ID, contract.InvariantIdentity, key, "holds session %s", session.ID)
		p.Check(session.UserID == user.ID, contract.InvariantSessions, key, "is of user %s but listed by %s", session.UserID, user.ID)
		p.accounts.Trail.Head(&p.Results, key, listed.ID, &session.Root)
	}
}
