// Package audit checks the invariants of wallets and deposits.
package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"caravan/internal/audit"
	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/page"
	"caravan/services/payments/app"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Bounds of one page of the audit.
const (
	accountsPerPage = 16
	segmentsPerPage = 64
	chargesPerPage  = 50
	keysPerPage     = 400 // of the feed, about
)

// Audit checks the whole ledger: every account by itself, with its archive and its events; every booked deposit against its
// request and the bank; every charge of the bank against the postings; and every deposit that was requested. It uses the list
// of accounts, the report of the bank and the feed, because the state API cannot scan.
//
// It may run while payments works: each account is one document that was read at one instant, and a pending deposit is
// counted and is not a finding.
type Audit struct {
	Ledger   *app.Ledger
	Deposits *app.Deposits
	Bank     app.Bank
	Feed     *feed.Reader
	Trail    feed.Trail // of the events of accounts and deposits
	Clock    clock.Clock
}

// position is the content of a cursor: first the accounts, list by list, then the report of the bank, then the deposits by
// the feed.
type position struct {
	Shard int    `json:"s"`
	Chain string `json:"c,omitempty"`
	// Account is set inside an account. Its archive segments below Before are not checked yet (all, if it is 0), unless it is
	// Archived, and neither are the segments of its timeline from Events on.
	Account  string `json:"a,omitempty"`
	Before   int64  `json:"n,omitempty"`
	Archived bool   `json:"d,omitempty"`
	Events   int64  `json:"e,omitempty"`
	// Bank is the position in the report of the bank, after all accounts, and Feed is the one in the feed, after that.
	Bank string `json:"b,omitempty"`
	Feed string `json:"f,omitempty"`
}

// Page checks a part of the ledger. An empty cursor starts the audit.
func (a Audit) Page(ctx context.Context, request audit.Request) (contract.AuditPage, error) {
	var at position
	begun, ready, err := a.Trail.Begin(ctx, request.Cursor, &at,
		contract.InvariantZeroSum, contract.InvariantBalance, contract.InvariantHeld, contract.InvariantAvailable, contract.InvariantHold,
		contract.InvariantRefusal, contract.InvariantRefunds, contract.InvariantPostings, contract.InvariantOperation,
		contract.InvariantOrderPosting, contract.InvariantArchive, contract.InvariantDeposit, contract.InvariantDepositKey,
		contract.InvariantPending)
	if err != nil {
		return contract.AuditPage{}, err
	}
	p := &pageAudit{Audit: a, AuditPage: contract.AuditPage{Page: begun}, segments: segmentsPerPage, booked: make(Booked)}
	p.Counts["ledgerSum"], p.Counts["accounts"] = 0, 0
	switch {
	case !ready:
	case at.Shard < app.Shards:
		err = p.accounts(ctx, at)
	case at.Feed == "":
		err = p.charges(ctx, at)
	default:
		err = p.requests(ctx, at)
	}
	if err != nil {
		return contract.AuditPage{}, fmt.Errorf("auditing: %w", err)
	}
	return p.AuditPage, nil
}

// pageAudit is the audit of one page.
type pageAudit struct {
	Audit
	contract.AuditPage
	// segments is how many archive and timeline segments the page may still read.
	segments int
	// booked are the operations of the current account that this page has found.
	booked Booked
}

func (p *pageAudit) continueAt(at position) { p.Next = page.Encode(at) }

// accounts checks the next accounts of a list, or continues in an account.
func (p *pageAudit) accounts(ctx context.Context, at position) error {
	if at.Account != "" {
		account, err := p.Ledger.Accounts.Get(ctx, at.Account)
		if err != nil {
			return fmt.Errorf("reading account: %w", err)
		}
		done, err := p.rest(ctx, account, &at, make(map[string]bool))
		if err != nil {
			return err
		}
		if !done {
			p.continueAt(at)
			return nil
		}
		if at.Chain == "" {
			p.continueAt(position{Shard: at.Shard + 1})
			return nil
		}
	}
	listed, next, err := p.Ledger.Page(ctx, at.Shard, at.Chain, accountsPerPage)
	if err != nil {
		return err
	}
	checked, err := p.listed(ctx, &at, listed)
	if err != nil {
		return err
	}
	if at.Chain, err = document.CursorBefore(next, len(listed)-checked); err != nil {
		return fmt.Errorf("reading the list of accounts: %w", err)
	}
	if at.Chain == "" && at.Account == "" {
		at = position{Shard: at.Shard + 1}
	}
	p.continueAt(at)
	return nil
}

// listed checks accounts until the page is full, and returns how many. The position contains the last one if it is not
// finished.
func (p *pageAudit) listed(ctx context.Context, at *position, accounts []*domain.Account) (int, error) {
	for i, account := range accounts {
		if account == nil {
			continue
		}
		seen := make(map[string]bool)
		if err := p.account(ctx, account, seen); err != nil {
			return 0, err
		}
		at.Account = account.UserID
		done, err := p.rest(ctx, account, at, seen)
		if err != nil {
			return 0, err
		}
		if !done {
			return i + 1, nil
		}
	}
	return len(accounts), nil
}

// rest checks the archive and the events of an account from a position on, and reports whether it is done. seen are orders
// that were found in a younger version.
func (p *pageAudit) rest(ctx context.Context, account *domain.Account, at *position, seen map[string]bool) (done bool, err error) {
	if !at.Archived {
		if at.Before, err = p.archive(ctx, account, at.Before, seen); err != nil || at.Before > 0 {
			return false, err
		}
		at.Archived = true
	}
	key := p.Ledger.Accounts.Key(account.UserID)
	at.Events, err = p.Trail.Segments(ctx, &p.Results, key, account.UserID, &account.Root, at.Events, &p.segments, nil)
	if err != nil || at.Events < account.TimelineSegments {
		return false, err
	}
	at.Account, at.Before, at.Archived, at.Events = "", 0, false, 0
	return true, nil
}

// account checks the document of one account. It adds its orders to seen.
func (p *pageAudit) account(ctx context.Context, account *domain.Account, seen map[string]bool) error {
	CheckAccount(&p.Results, account)
	p.Trail.Head(&p.Results, p.Ledger.Accounts.Key(account.UserID), account.UserID, &account.Root)
	p.booked = make(Booked)
	p.Counts["accounts"]++
	p.Counts["ledgerSum"] += account.Books.Sum()
	p.Counts["balance."+account.Currency] += account.Books.Balance
	p.Counts["held."+account.Currency] += account.Held
	for counter, amount := range account.Books.Counters {
		p.Counts[counter+"."+account.Currency] += amount
	}
	p.orders(account, account.Holds, seen)
	return p.checkBooked(ctx, account, account.Postings)
}

// orders adds the money of each order to the page, except orders that were seen in a younger version, and adds the orders to
// seen.
func (p *pageAudit) orders(account *domain.Account, holds map[string]domain.Hold, seen map[string]bool) {
	for _, id := range slices.Sorted(maps.Keys(holds)) {
		if !seen[id] {
			p.AuditPage.Orders = append(p.AuditPage.Orders, moneyOf(account, id, holds[id]))
			p.Counts["orders"]++
			seen[id] = true
		}
	}
}

func moneyOf(account *domain.Account, orderID string, h domain.Hold) contract.OrderMoney {
	return contract.OrderMoney{
		OrderID: orderID, UserID: account.UserID, State: string(h.State), Reason: h.Reason, Currency: account.Currency,
		Authorized: h.Amount, Captured: h.Captured, Refunded: h.Refunded,
	}
}
