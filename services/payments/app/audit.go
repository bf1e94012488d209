package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/page"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Bounds of one page of the audit.
const (
	auditAccounts = 16
	auditSegments = 64
	auditCharges  = 50
)

// Audit checks the whole ledger: every account by itself, with its archive and its events; every booked deposit against
// its request and the bank; every charge of the bank against what was booked; and every deposit that was asked for. It
// walks by the registry, the bank's report and the feed, as the state API cannot scan.
//
// It may run while payments works: each account is judged as one document read at one instant, and a deposit under way
// is counted, not blamed.
type Audit struct {
	ledger   *Ledger
	deposits *Deposits
	bank     Bank
	feed     *feed.Reader
	coverage *feed.Coverage
}

// NewAudit makes the use case; reader reads the feed of the accounts and deposits.
func NewAudit(ledger *Ledger, deposits *Deposits, bank Bank, reader *feed.Reader) *Audit {
	return &Audit{ledger: ledger, deposits: deposits, bank: bank, feed: reader, coverage: feed.NewCoverage(reader)}
}

// invariants are all that a page checks.
var invariants = append([]string{
	contract.InvariantZeroSum, contract.InvariantBalance, contract.InvariantHeld, contract.InvariantAvailable,
	contract.InvariantHold, contract.InvariantRefusal, contract.InvariantRefunds, contract.InvariantPostings, contract.InvariantOperation,
	contract.InvariantOrderPosting, contract.InvariantArchive, contract.InvariantDeposit, contract.InvariantDepositKey,
	contract.InvariantPending,
}, feed.TrailInvariants...)

// auditPlace is the content of a cursor: first the accounts, list by list, then the bank's report, then the deposits by
// the feed.
type auditPlace struct {
	Shard int    `json:"s"`
	Chain string `json:"c,omitempty"`
	// Account is set inside one account: its archive segments below Before are still to come (all, at 0), unless it is
	// Archived, and the segments of its timeline from Events on.
	Account  string `json:"a,omitempty"`
	Before   int64  `json:"n,omitempty"`
	Archived bool   `json:"d,omitempty"`
	Events   int64  `json:"e,omitempty"`
	// Bank is the place in the bank's report, once all accounts are done, and Feed the one in the feed, after that.
	Bank string `json:"b,omitempty"`
	Feed string `json:"f,omitempty"`
}

// afterAccounts is the shard after the last: everything from there on is about deposits.
const afterAccounts = registryShards

// Page checks one part of the ledger.
func (a *Audit) Page(ctx context.Context, cursor string) (contract.AuditPage, error) {
	var at auditPlace
	if err := page.Decode(cursor, &at); err != nil {
		return contract.AuditPage{}, err
	}
	if cursor == "" {
		a.coverage.Restart()
	}
	complete, err := a.coverage.Extend(ctx)
	if err != nil {
		return contract.AuditPage{}, fmt.Errorf("auditing: %w", err)
	}
	p := a.begin()
	switch {
	case !complete:
		p.goOn(at)
	case at.Shard < afterAccounts:
		err = a.accounts(ctx, p, at)
	case at.Feed == "":
		err = a.charges(ctx, p, at)
	default:
		err = a.requests(ctx, p, at)
	}
	if err != nil {
		return contract.AuditPage{}, fmt.Errorf("auditing: %w", err)
	}
	return p.AuditPage, nil
}

func (a *Audit) begin() *auditPage {
	p := &auditPage{
		AuditPage: contract.AuditPage{Page: audit.NewPage(invariants...)}, segments: auditSegments,
		trail: feed.Trail{Store: a.ledger.store, Source: contract.App, Coverage: a.coverage},
	}
	p.Counts["ledgerSum"], p.Counts["accounts"] = 0, 0
	return p
}

// auditPage is a page while it is filled.
type auditPage struct {
	contract.AuditPage
	trail feed.Trail
	// segments is how many archive and timeline segments the page may still read.
	segments int
	// booked are the operations met on this page of the account under way.
	booked domain.Booked
}

func (p *auditPage) goOn(at auditPlace) { p.Next = page.Encode(at) }

// accounts checks the next accounts of the registry, or goes on in one.
func (a *Audit) accounts(ctx context.Context, p *auditPage, at auditPlace) error {
	if at.Account != "" {
		account, err := a.ledger.accounts.Get(ctx, at.Account)
		if err != nil {
			return fmt.Errorf("reading account: %w", err)
		}
		p.booked = make(domain.Booked)
		done, err := a.rest(ctx, p, account, &at, nil)
		if err != nil {
			return err
		}
		if !done {
			p.goOn(at)
			return nil
		}
		if at.Chain == "" {
			return p.nextShard(at)
		}
	}
	entries, next, err := a.ledger.registry.Page(ctx, strconv.Itoa(at.Shard), at.Chain, auditAccounts)
	if err != nil {
		return fmt.Errorf("reading the registry: %w", err)
	}
	done, err := a.entries(ctx, p, &at, entries)
	if err != nil {
		return err
	}
	if next, err = document.CursorBefore(next, len(entries)-done); err != nil {
		return fmt.Errorf("reading the registry: %w", err)
	}
	at.Chain = next
	if next == "" && at.Account == "" {
		return p.nextShard(at)
	}
	p.goOn(at)
	return nil
}

func (p *auditPage) nextShard(at auditPlace) error {
	p.goOn(auditPlace{Shard: at.Shard + 1})
	return nil
}

// entries checks registered accounts until the page is full, and returns how many of them it has dealt with. If the
// last one is not finished, the place says so.
func (a *Audit) entries(ctx context.Context, p *auditPage, at *auditPlace, entries []registered) (int, error) {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.UserID
	}
	accounts, err := a.ledger.accounts.GetMany(ctx, ids...)
	if err != nil {
		return 0, fmt.Errorf("reading accounts: %w", err)
	}
	for i, e := range entries {
		account, ok := accounts[e.UserID]
		if !ok || account.Entry != e.Entry {
			continue // registered by an attempt that did not make the account
		}
		if err := a.account(ctx, p, account); err != nil {
			return 0, err
		}
		at.Account = e.UserID
		done, err := a.rest(ctx, p, account, at, slices.Collect(maps.Keys(account.Holds)))
		if err != nil {
			return 0, err
		}
		if !done {
			return i + 1, nil
		}
	}
	return len(entries), nil
}

// rest checks the archive and the events of an account from a place on, and reports whether it came to their end. seen
// names orders that were met in a younger version.
func (a *Audit) rest(ctx context.Context, p *auditPage, account *domain.Account, at *auditPlace, seen []string) (done bool, err error) {
	if !at.Archived {
		if at.Before, err = a.archive(ctx, p, account, at.Before, seen); err != nil || at.Before > 0 {
			return false, err
		}
		at.Archived = true
	}
	key := a.ledger.accounts.Key(account.UserID)
	for ; at.Events < account.TimelineSegments; at.Events++ {
		if p.segments <= 0 {
			return false, nil
		}
		p.segments--
		if _, err := p.trail.Segment(ctx, &p.Results, key, account.UserID, &account.Root, at.Events); err != nil {
			return false, err
		}
	}
	at.Account, at.Before, at.Archived, at.Events = "", 0, false, 0
	return true, nil
}

// account checks the head of one account.
func (a *Audit) account(ctx context.Context, p *auditPage, account *domain.Account) error {
	domain.AuditAccount(&p.Results, account)
	p.trail.Head(&p.Results, a.ledger.accounts.Key(account.UserID), account.UserID, &account.Root)
	p.booked = make(domain.Booked)
	p.Counts["accounts"]++
	p.Counts["ledgerSum"] += account.Books.Sum()
	p.Counts["balance."+account.Currency] += account.Books.Balance
	p.Counts["held."+account.Currency] += account.Held
	for counter, amount := range account.Books.Counters {
		p.Counts[counter+"."+account.Currency] += amount
	}
	p.orders(account, account.Holds, nil)
	return a.booked(ctx, p, account, account.Postings)
}

// orders adds the money of each order, except those named, whose younger version was added before.
func (p *auditPage) orders(account *domain.Account, holds map[string]domain.Hold, except map[string]bool) {
	for _, id := range slices.Sorted(maps.Keys(holds)) {
		if except[id] {
			continue
		}
		p.Orders = append(p.Orders, moneyOf(account, id, holds[id]))
		p.Counts["orders"]++
	}
}

func moneyOf(account *domain.Account, orderID string, h domain.Hold) contract.OrderMoney {
	return contract.OrderMoney{
		OrderID: orderID, UserID: account.UserID, State: string(h.State), Reason: string(h.Reason), Currency: account.Currency,
		Authorized: h.Amount, Captured: h.Captured, Refunded: h.Refunded,
	}
}

// archive checks the archive of an account below the segment from (0: all of it), as far as the page goes. It returns
// the segment to go on from, or 0 when it is done. seen names orders that were met in a younger version.
func (a *Audit) archive(ctx context.Context, p *auditPage, account *domain.Account, from int64, seen []string) (int64, error) {
	walk := archiveWalk{audit: a, page: p, account: account, from: from, expected: account.Archived.Count,
		following: account.Archived.Books, seen: make(map[string]bool)}
	if from > 0 {
		walk.expected = from
	}
	for _, id := range seen {
		walk.seen[id] = true
	}
	within := func(p domain.Part) bool { return from == 0 || p.Oldest <= from }
	err := a.ledger.walk(ctx, account, within, func(at domain.Place, s domain.Segment) bool { return walk.visit(ctx, at, s) })
	switch {
	case errors.Is(err, document.ErrArchive):
		p.Check(false, contract.InvariantArchive, domain.AccountPrefix+account.UserID, "%v", err)
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("reading archive: %w", err)
	}
	return walk.stopped, walk.err
}

// archiveWalk is the state of a walk down the archive of one account.
type archiveWalk struct {
	audit     *Audit
	page      *auditPage
	account   *domain.Account
	from      int64
	expected  int64
	following domain.Books
	seen      map[string]bool
	stopped   int64
	err       error
}

// visit checks one segment; false ends the walk.
func (w *archiveWalk) visit(ctx context.Context, at domain.Place, s domain.Segment) bool {
	if w.from > 0 && s.Number > w.from {
		return true // only on the way to the place
	}
	w.page.Check(s.Number == w.expected, contract.InvariantArchive, at.Key, "segment %d is at the place of %d", s.Number, w.expected)
	w.expected = s.Number - 1
	if s.Number == w.from {
		w.following = s.Opening // checked on the page before
		return true
	}
	domain.AuditSegment(&w.page.Results, w.account.UserID, at, s, w.following)
	w.following = s.Opening
	w.page.orders(w.account, s.Holds, w.seen)
	for id := range s.Holds {
		w.seen[id] = true
	}
	w.page.Counts["segments"]++
	if w.err = w.audit.booked(ctx, w.page, w.account, s.Postings); w.err != nil {
		return false
	}
	if w.page.segments--; w.page.segments <= 0 && s.Number > 1 {
		w.stopped = s.Number
		return false
	}
	return true
}
