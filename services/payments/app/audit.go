package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

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

// Audit checks the whole ledger: every account by itself, with its archive; every booked deposit against its request and
// the bank; and every charge of the bank against what was booked. It walks by the registry, as the state API cannot scan.
//
// It may run while payments works: each account is judged as one document read at one instant, and a deposit under way
// is counted, not blamed.
type Audit struct {
	ledger   *Ledger
	deposits *Deposits
	bank     Bank
}

// NewAudit makes the use case.
func NewAudit(ledger *Ledger, deposits *Deposits, bank Bank) *Audit {
	return &Audit{ledger: ledger, deposits: deposits, bank: bank}
}

// auditPlace is the content of a cursor: first the accounts, list by list, then the bank's report.
type auditPlace struct {
	Shard int    `json:"s"`
	Chain string `json:"c,omitempty"`
	// Account is set inside the archive of one account, whose segments below Before are still to come.
	Account string `json:"a,omitempty"`
	Before  int64  `json:"n,omitempty"`
	// Bank is the place in the bank's report, once all accounts are done.
	Bank string `json:"b,omitempty"`
}

// Page checks one part of the ledger.
func (a *Audit) Page(ctx context.Context, cursor string) (contract.AuditPage, error) {
	var at auditPlace
	if err := page.Decode(cursor, &at); err != nil {
		return contract.AuditPage{}, err
	}
	p := &auditPage{
		AuditPage: contract.AuditPage{Findings: []contract.Finding{}, Counts: map[string]int64{"ledgerSum": 0, "accounts": 0}},
		segments:  auditSegments,
	}
	var err error
	if at.Shard < registryShards {
		err = a.accounts(ctx, p, at)
	} else {
		err = a.charges(ctx, p, at)
	}
	if err != nil {
		return contract.AuditPage{}, fmt.Errorf("auditing: %w", err)
	}
	return p.AuditPage, nil
}

// auditPage is a page while it is filled.
type auditPage struct {
	contract.AuditPage
	// segments is how many archive segments the page may still read.
	segments int
}

func (p *auditPage) goOn(at auditPlace) { p.Next = page.Encode(at) }

func (p *auditPage) find(findings ...domain.Finding) {
	for _, f := range findings {
		p.Findings = append(p.Findings, contract.Finding{Invariant: f.Invariant, Key: f.Key, Detail: f.Detail})
	}
}

// accounts checks the next accounts of the registry, or goes on in the archive of one.
func (a *Audit) accounts(ctx context.Context, p *auditPage, at auditPlace) error {
	if at.Account != "" {
		account, err := a.ledger.accounts.Get(ctx, at.Account)
		if err != nil {
			return fmt.Errorf("reading account: %w", err)
		}
		if at.Before, err = a.archive(ctx, p, account, at.Before, nil); err != nil {
			return err
		}
		if at.Before > 0 {
			p.goOn(at)
			return nil
		}
		at.Account = ""
		if at.Chain == "" {
			return p.nextShard(at)
		}
	}
	limit := auditAccounts
	if at.Chain == "" {
		limit = 1 // accounts opened meanwhile shift the front of a list; behind a cursor nothing shifts
	}
	entries, next, err := a.ledger.registry.Page(ctx, strconv.Itoa(at.Shard), at.Chain, limit)
	if err != nil {
		return fmt.Errorf("reading the registry: %w", err)
	}
	done, err := a.entries(ctx, p, &at, entries)
	if err != nil {
		return err
	}
	if done < len(entries) {
		if _, next, err = a.ledger.registry.Page(ctx, strconv.Itoa(at.Shard), at.Chain, done); err != nil {
			return fmt.Errorf("reading the registry: %w", err)
		}
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
// archive of the last one is not finished, the place says so.
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
		before, err := a.archive(ctx, p, account, 0, slices.Collect(maps.Keys(account.Holds)))
		if err != nil {
			return 0, err
		}
		if before > 0 {
			at.Account, at.Before = e.UserID, before
			return i + 1, nil
		}
	}
	return len(entries), nil
}

// account checks the head of one account.
func (a *Audit) account(ctx context.Context, p *auditPage, account *domain.Account) error {
	p.find(domain.AuditAccount(account)...)
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
		h := holds[id]
		p.Orders = append(p.Orders, contract.OrderMoney{
			OrderID: id, UserID: account.UserID, State: string(h.State), Currency: account.Currency,
			Authorized: h.Amount, Captured: h.Captured, Refunded: h.Refunded,
		})
		p.Counts["orders"]++
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
	within := func(r domain.Ref) bool { return from == 0 || r.Oldest() <= from }
	err := a.ledger.walk(ctx, account, within, func(key string, s domain.Segment) bool { return walk.visit(ctx, key, s) })
	switch {
	case errors.Is(err, errSegmentMissing):
		p.find(domain.Finding{Invariant: domain.InvariantArchive, Key: domain.AccountPrefix + account.UserID, Detail: err.Error()})
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
func (w *archiveWalk) visit(ctx context.Context, key string, s domain.Segment) bool {
	if w.from > 0 && s.Number > w.from {
		return true // only on the way to the place
	}
	if s.Number != w.expected {
		w.page.find(domain.Finding{Invariant: domain.InvariantArchive, Key: key,
			Detail: fmt.Sprintf("segment %d is at the place of %d", s.Number, w.expected)})
	}
	w.expected = s.Number - 1
	if s.Number == w.from {
		w.following = s.Opening // checked on the page before
		return true
	}
	w.page.find(domain.AuditSegment(w.account.UserID, key, s, w.following)...)
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
