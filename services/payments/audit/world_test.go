package audit_test

import (
	"fmt"
	"log/slog"
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

func orderID(n int) string { return fmt.Sprintf("order-%d", n) }

func at(order int) time.Time { return placed.Add(time.Duration(order) * time.Second) }

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v; want %v", what, got, want)
	}
}

// world is payments over a store in memory.
type world struct {
	store    *documenttest.FakeStore
	clock    *clocktest.Clock
	bank     *testbank.Bank
	ledger   *app.Ledger
	deposits *app.Deposits
	audit    audit.Audit
}

func fresh(limits domain.Limits) *world {
	p := &world{store: documenttest.NewStore(), clock: clocktest.At(placed)}
	opts := document.Options{
		Source: contract.App, Clock: p.clock, IDs: id.Random{}, Index: feed.NewIndex(p.store, p.clock, feed.DefaultTiming(), "writer"),
	}
	p.bank = testbank.New(p.store, p.clock, id.Random{}, time.Minute)
	p.ledger = app.NewLedger(p.store, opts, "EUR", limits)
	p.deposits = app.NewDeposits(p.ledger, p.store, opts, p.bank, slog.New(slog.DiscardHandler), 5*time.Second)
	reader := feed.NewReader(p.store, p.clock, feed.DefaultTiming())
	p.audit = audit.Audit{
		Ledger: p.ledger, Deposits: p.deposits, Bank: p.bank, Feed: reader, Clock: p.clock,
		Trail: feed.Trail{Store: p.store, Source: contract.App, Coverage: feed.NewCoverage(reader)},
	}
	return p
}

func (p *world) request(t *testing.T, userID, key, source string, amount int64) *domain.Deposit {
	t.Helper()
	d, err := app.Deposit{Deposits: p.deposits}.Do(t.Context(), app.DepositRequest{UserID: userID, Key: key, Amount: eur(amount), Source: source})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (p *world) deposit(t *testing.T, userID, key string, amount int64) *domain.Deposit {
	t.Helper()
	return p.request(t, userID, key, testbank.SourceOK, amount)
}

func (p *world) authorize(t *testing.T, order int, amount int64) {
	t.Helper()
	c := contract.Authorize{OrderID: orderID(order), UserID: alice, Amount: eur(amount), PlacedAt: at(order)}
	if _, err := (app.Authorize{Ledger: p.ledger}).Do(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func (p *world) capture(t *testing.T, order int) {
	t.Helper()
	c := contract.Capture{OrderID: orderID(order), UserID: alice, PlacedAt: at(order)}
	if _, err := (app.Capture{Ledger: p.ledger}).Do(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func (p *world) refund(t *testing.T, order int, refundID string, amount int64) {
	t.Helper()
	c := contract.Refund{RefundID: refundID, OrderID: orderID(order), UserID: alice, Amount: eur(amount), PlacedAt: at(order)}
	if _, err := (app.Refund{Ledger: p.ledger}).Do(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// total is all pages of the audit.
func (p *world) total(t *testing.T) contract.AuditPage {
	t.Helper()
	all := contract.AuditPage{Page: shape.NewPage()}
	for cursor, more := "", true; more; more = cursor != "" {
		page, err := p.audit.Page(t.Context(), shape.Request{Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		if n := page.Counts["segments"]; n > 64 {
			t.Errorf("one page covers %d segments", n)
		}
		all.Add(page.Results)
		all.Orders = append(all.Orders, page.Orders...)
		for name, n := range page.Counts {
			all.Counts[name] += n
		}
		cursor = page.Next
	}
	return all
}

// sound fails the test if the audit finds anything.
func (p *world) sound(t *testing.T) contract.AuditPage {
	t.Helper()
	all := p.total(t)
	for _, f := range all.Findings {
		t.Errorf("audit: %s at %s: %s", f.Invariant, f.Key, f.Detail)
	}
	equal(t, "sum of the ledger", all.Counts["ledgerSum"], 0)
	return all
}
