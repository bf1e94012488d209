package app_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	shape "caravan/internal/audit"
	"caravan/internal/clock/clocktest"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/services/payments/adapters/testbank"
	"caravan/services/payments/app"
	"caravan/services/payments/audit"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

const (
	alice = "0197a000-0000-7000-8000-00000000000a"
	bob   = "0197a000-0000-7000-8000-00000000000b"
)

var placed = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func eur(amount int64) money.Money { return money.New(amount, "EUR") }

// errCrashed is what a process that has crashed gets from everything outside.
var errCrashed = errors.New("this process has crashed")

// fakeProcess is one run of payments over a store that outlives it. It can crash at any of its writes.
type fakeProcess struct {
	store  *documenttest.FakeStore
	clock  *clocktest.Clock
	writes atomic.Int64
	dead   atomic.Bool
	// crashAt is the number of the write to crash at, 0 for never; afterwards tells whether that write still lands.
	crashAt    int64
	afterwards bool

	ledger      *app.Ledger
	authorizes  app.Authorize
	captures    app.Capture
	voids       app.Void
	refunds     app.Refund
	deposits    app.Deposit
	showDeposit app.ShowDeposit
	reconciler  *app.Reconciler
	audit       audit.Audit
	bank        *testbank.Bank
}

// Get implements document.Store.
func (p *fakeProcess) Get(ctx context.Context, keys ...string) (map[string]document.Record, error) {
	if p.dead.Load() {
		return nil, errCrashed
	}
	return p.store.Get(ctx, keys...)
}

// Put implements document.Store.
func (p *fakeProcess) Put(ctx context.Context, key string, value []byte, etag string) error {
	n := p.writes.Add(1)
	if p.dead.Load() {
		return errCrashed
	}
	if n == p.crashAt {
		if p.afterwards {
			_ = p.store.Put(ctx, key, value, etag) // its outcome is lost with the process
		}
		p.dead.Store(true)
		return errCrashed
	}
	return p.store.Put(ctx, key, value, etag)
}

// Now and Sleep implement clock.Clock.
func (p *fakeProcess) Now() time.Time { return p.clock.Now() }

func (p *fakeProcess) Sleep(ctx context.Context, d time.Duration) error {
	if p.dead.Load() {
		return errCrashed
	}
	return p.clock.Sleep(ctx, d)
}

type option func(*fakeProcess, *domain.Limits)

func crashing(at int64, afterwards bool) option {
	return func(p *fakeProcess, _ *domain.Limits) { p.crashAt, p.afterwards = at, afterwards }
}

func limited(keep, most int) option {
	return func(_ *fakeProcess, l *domain.Limits) { *l = domain.Limits{Keep: keep, Max: most} }
}

// start runs payments over a store; bank, if given, stands in front of the test bank.
func start(store *documenttest.FakeStore, clk *clocktest.Clock, front func(app.Bank) app.Bank, options ...option) *fakeProcess {
	p := &fakeProcess{store: store, clock: clk}
	limits := domain.DefaultLimits()
	for _, o := range options {
		o(p, &limits)
	}
	timing := feed.DefaultTiming()
	opts := document.Options{
		Source: contract.App, Clock: p, IDs: id.Random{}, Index: feed.NewIndex(p, p, timing, "writer"), Timeout: 5 * time.Second,
	}
	p.bank = testbank.New(p, p, id.Random{}, time.Minute)
	var bank app.Bank = p.bank
	if front != nil {
		bank = front(bank)
	}
	log := slog.New(slog.DiscardHandler)
	p.ledger = app.NewLedger(p, opts, "EUR", limits)
	p.authorizes, p.captures, p.voids, p.refunds = app.Authorize{Ledger: p.ledger}, app.Capture{Ledger: p.ledger}, app.Void{Ledger: p.ledger}, app.Refund{Ledger: p.ledger}
	deposits := app.NewDeposits(p.ledger, p, opts, bank, log, 5*time.Second)
	p.deposits, p.showDeposit = app.Deposit{Deposits: deposits}, app.ShowDeposit{Deposits: deposits}
	reader := feed.NewReader(p, p, timing)
	p.reconciler = app.NewReconciler(deposits, reader, p, opts, log, 10*time.Second)
	p.audit = audit.Audit{
		Ledger: p.ledger, Deposits: deposits, Bank: bank, Feed: reader, Clock: p,
		Trail: feed.Trail{Store: p, Source: contract.App, Coverage: feed.NewCoverage(reader)},
	}
	return p
}

// fresh runs payments over an empty store.
func fresh(options ...option) *fakeProcess {
	return start(documenttest.NewStore(), clocktest.At(placed), nil, options...)
}

// deposit puts money into a wallet.
func (p *fakeProcess) deposit(t *testing.T, userID, key string, amount int64) *domain.Deposit {
	t.Helper()
	d, err := p.deposits.Do(t.Context(), request(userID, key, "tok_ok", amount))
	if err != nil {
		t.Fatalf("depositing: %v", err)
	}
	return d
}

func request(userID, key, source string, amount int64) app.DepositRequest {
	return app.DepositRequest{
		UserID: userID, Key: key, Fingerprint: source + eur(amount).String(), Amount: eur(amount), Source: source,
	}
}

// total is everything the audit says, page by page.
func (p *fakeProcess) total(t *testing.T) contract.AuditPage {
	t.Helper()
	all := contract.AuditPage{Page: shape.NewPage()}
	cursor := ""
	for range 10_000 {
		page, err := p.audit.Page(t.Context(), shape.Request{Cursor: cursor})
		if err != nil {
			t.Fatalf("auditing: %v", err)
		}
		if n := page.Counts["segments"]; n > 64 {
			t.Errorf("one page covers %d segments", n)
		}
		all.Add(page.Results)
		all.Orders = append(all.Orders, page.Orders...)
		for name, n := range page.Counts {
			all.Counts[name] += n
		}
		if page.Next == "" {
			return all
		}
		cursor = page.Next
	}
	t.Fatal("the audit does not end")
	return all
}

// sound fails the test if the audit finds anything, or if the bank and the ledger differ.
func (p *fakeProcess) sound(t *testing.T) contract.AuditPage {
	t.Helper()
	all := p.total(t)
	for _, f := range all.Findings {
		t.Errorf("audit: %s at %s: %s", f.Invariant, f.Key, f.Detail)
	}
	if all.Counts["ledgerSum"] != 0 {
		t.Errorf("the ledger sums to %d", all.Counts["ledgerSum"])
	}
	return all
}

func (p *fakeProcess) balance(t *testing.T, userID string) (balance, available int64) {
	t.Helper()
	w, err := app.ShowWallet{Ledger: p.ledger}.Do(t.Context(), userID)
	if err != nil {
		t.Fatalf("reading wallet: %v", err)
	}
	return w.Balance.Amount, w.Available.Amount
}
