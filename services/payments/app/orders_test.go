package app_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/internal/clock/clocktest"
	"caravan/internal/correlation"
	"caravan/internal/document/documenttest"
	"caravan/services/payments/app"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

func orderID(n int) string { return fmt.Sprintf("order-%d", n) }

func (p *fakeProcess) authorize(t *testing.T, order int, amount int64) string {
	t.Helper()
	r, err := p.authorizes.Do(t.Context(), contract.Authorize{OrderID: orderID(order), UserID: alice, Amount: eur(amount), PlacedAt: at(order)})
	if err != nil {
		t.Fatalf("authorizing: %v", err)
	}
	return r.Outcome
}

func (p *fakeProcess) capture(t *testing.T, order int) string {
	t.Helper()
	r, err := p.captures.Do(t.Context(), contract.Capture{OrderID: orderID(order), UserID: alice, PlacedAt: at(order)})
	if err != nil {
		t.Fatalf("capturing: %v", err)
	}
	return r.Outcome
}

func (p *fakeProcess) void(t *testing.T, order int) string {
	t.Helper()
	r, err := p.voids.Do(t.Context(), contract.Void{OrderID: orderID(order), UserID: alice, PlacedAt: at(order)})
	if err != nil {
		t.Fatalf("voiding: %v", err)
	}
	return r.Outcome
}

func (p *fakeProcess) refund(t *testing.T, order int, refundID string, amount int64) string {
	t.Helper()
	r, err := p.refunds.Do(t.Context(), contract.Refund{RefundID: refundID, OrderID: orderID(order), UserID: alice, Amount: eur(amount), PlacedAt: at(order)})
	if err != nil {
		t.Fatalf("refunding: %v", err)
	}
	return r.Outcome
}

func at(order int) time.Time { return placed.Add(time.Duration(order) * time.Second) }

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v; want %v", what, got, want)
	}
}

func TestOrderFromAuthorizeToRefund(t *testing.T) {
	p := fresh()
	equal(t, "authorize without a wallet", p.authorize(t, 3, 60), contract.OutcomeInsufficientFunds)
	p.deposit(t, alice, "k", 100)
	equal(t, "authorize", p.authorize(t, 1, 60), contract.OutcomeAuthorized)
	equal(t, "authorize what is not available", p.authorize(t, 2, 41), contract.OutcomeInsufficientFunds)
	equal(t, "authorize it again", p.authorize(t, 2, 41), contract.OutcomeInsufficientFunds)
	equal(t, "capture", p.capture(t, 1), contract.OutcomeCaptured)
	equal(t, "void", p.void(t, 1), contract.OutcomeCaptured)
	equal(t, "refund", p.refund(t, 1, "r1", 25), contract.OutcomeRefunded)
	equal(t, "refund too much", p.refund(t, 1, "r2", 36), contract.OutcomeExceedsCaptured)
	balance, available := p.balance(t, alice)
	equal(t, "balance", balance, 65)
	equal(t, "available", available, 65)
	all := p.sound(t)
	want := contract.OrderMoney{OrderID: orderID(1), UserID: alice, State: "captured", Currency: "EUR", Authorized: 60, Captured: 60, Refunded: 25}
	refusals := slices.DeleteFunc(slices.Clone(all.Orders), func(o contract.OrderMoney) bool {
		return o.State != contract.OutcomeVoided || o.Reason != contract.RefusedFunds
	})
	if len(all.Orders) != 3 || len(refusals) != 2 || !slices.Contains(all.Orders, want) {
		t.Errorf("orders are %+v; want %+v and two refusals", all.Orders, want)
	}
	equal(t, "bank", all.Counts["bank:test.EUR"], -100)
	equal(t, "sales", all.Counts["merchant:sales.EUR"], 35)
}

func TestVoidOfAnUnknownOrderOpensAWallet(t *testing.T) {
	p := fresh()
	equal(t, "void", p.void(t, 1), contract.OutcomeVoided)
	p.deposit(t, alice, "k", 100)
	equal(t, "late authorize", p.authorize(t, 1, 60), contract.OutcomeVoided)
	equal(t, "authorize of nothing", p.authorize(t, 2, 0), contract.OutcomeAuthorized)
	equal(t, "accounts", p.sound(t).Counts["accounts"], 1)
}

func TestRefusedCommandsSayWhy(t *testing.T) {
	p := fresh()
	p.deposit(t, alice, "k", 100)
	p.authorize(t, 1, 60)
	p.capture(t, 1)
	p.refund(t, 1, "r1", 10)
	for _, c := range []struct {
		name string
		run  func(ctx context.Context) error
		want error
	}{
		{"another amount for the order", func(ctx context.Context) error {
			_, err := p.authorizes.Do(ctx, contract.Authorize{OrderID: orderID(1), UserID: alice, Amount: eur(61), PlacedAt: at(1)})
			return err
		}, domain.ErrOperationReused},
		{"another amount for the refund", func(ctx context.Context) error {
			_, err := p.refunds.Do(ctx, contract.Refund{RefundID: "r1", OrderID: orderID(1), UserID: alice, Amount: eur(11), PlacedAt: at(1)})
			return err
		}, domain.ErrOperationReused},
		{"a capture of nothing", func(ctx context.Context) error {
			_, err := p.captures.Do(ctx, contract.Capture{OrderID: orderID(9), UserID: alice, PlacedAt: at(9)})
			return err
		}, domain.ErrNotAuthorized},
		{"a refund of nothing", func(ctx context.Context) error {
			_, err := p.refunds.Do(ctx, contract.Refund{RefundID: "r2", OrderID: orderID(1), UserID: alice, PlacedAt: at(1)})
			return err
		}, domain.ErrAmount},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(t.Context()); !errors.Is(err, c.want) {
				t.Errorf("got %v; want %v", err, c.want)
			}
		})
	}
}

// RFD-DUP: 20 refunds at once, through two replicas, never give back more than was captured.
func TestConcurrentRefundsStayWithinTheCapture(t *testing.T) {
	store, clk := documenttest.NewStore(), clocktest.At(placed)
	replicas := []*fakeProcess{start(store, clk, nil), start(store, clk, nil)}
	p := replicas[0]
	p.deposit(t, alice, "k", 100)
	p.authorize(t, 1, 100)
	p.capture(t, 1)
	var refunded atomic.Int64
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if replicas[i%2].refund(t, 1, fmt.Sprintf("r%d", i%15), 9) == contract.OutcomeRefunded {
				refunded.Add(1)
			}
		})
	}
	all.Wait()
	balance, _ := p.balance(t, alice)
	equal(t, "balance", balance, 99) // 11 refunds of 9
	if n := refunded.Load(); n < 11 {
		t.Errorf("%d refunds were answered as refunded; want 11 and their repeats", n)
	}
	p.sound(t)
}

// AUT-DUP, CAP-REO: authorizes, captures and voids of many orders at once end each order in one state.
func TestConcurrentCommandsEndEachOrderOnce(t *testing.T) {
	store, clk := documenttest.NewStore(), clocktest.At(placed)
	replicas := []*fakeProcess{start(store, clk, nil, limited(2, 4)), start(store, clk, nil, limited(2, 4))}
	p := replicas[0]
	p.deposit(t, alice, "k", 1000)
	var all sync.WaitGroup
	for order := range 20 {
		p.authorize(t, order, 10)
		for i := range 2 {
			all.Go(func() { replicas[i].capture(t, order) })
			all.Go(func() { replicas[i].void(t, order) })
			all.Go(func() { replicas[i].authorize(t, order, 10) })
		}
	}
	all.Wait()
	captured := int64(0)
	for order := range 20 {
		outcome := p.capture(t, order)
		equal(t, orderID(order), p.void(t, order), outcome)
		if outcome == contract.OutcomeCaptured {
			captured++
		}
	}
	balance, available := p.balance(t, alice)
	equal(t, "balance", balance, 1000-10*captured)
	equal(t, "available", available, balance)
	equal(t, "orders in the audit", p.sound(t).Counts["orders"], 20)
}

// AUT-CA, CAP-CA, RFD-CA and their SD cells: writes that fail, and writes that land although they seemed to fail.
func TestCommandsHaveOneEffectOverAFailingStore(t *testing.T) {
	store := documenttest.NewStore()
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(7, 7))
	healed := false
	fails := func(one int) error {
		mu.Lock()
		defer mu.Unlock()
		if !healed && dice.IntN(one) == 0 {
			return documenttest.ErrInjected
		}
		return nil
	}
	store.BeforePut(func(string, []byte) error { return fails(6) })
	store.AfterPut(func(string, []byte) error { return fails(6) })
	store.BeforeGet(func([]string) error { return fails(12) })
	p := start(store, clocktest.At(placed), nil, limited(2, 4))
	ctx := t.Context()
	insist := func(what string, run func() error) {
		t.Helper()
		for range 200 {
			if run() == nil {
				return
			}
		}
		t.Fatalf("%s never succeeded", what)
	}
	insist("deposit", func() error { _, err := p.deposits.Do(ctx, request(alice, "k", "tok_ok", 1000)); return err })
	for order := range 30 {
		id, placedAt := orderID(order), at(order)
		insist("authorize", func() error {
			_, err := p.authorizes.Do(ctx, contract.Authorize{OrderID: id, UserID: alice, Amount: eur(10), PlacedAt: placedAt})
			return err
		})
		insist("capture", func() error {
			_, err := p.captures.Do(ctx, contract.Capture{OrderID: id, UserID: alice, PlacedAt: placedAt})
			return err
		})
		insist("refund", func() error {
			_, err := p.refunds.Do(ctx, contract.Refund{RefundID: "r", OrderID: id, UserID: alice, Amount: eur(3), PlacedAt: placedAt})
			return err
		})
	}
	mu.Lock()
	healed = true
	mu.Unlock()
	balance, _ := p.balance(t, alice)
	equal(t, "balance", balance, 1000-30*7)
	p.sound(t)
}

func TestOldOrdersAreFoundInTheArchive(t *testing.T) {
	p := fresh(limited(2, 4))
	p.deposit(t, alice, "k", 10_000)
	const orders = 60
	for order := range orders {
		p.authorize(t, order, 10)
		if order%3 == 0 {
			p.void(t, order)
		} else {
			p.capture(t, order)
		}
	}
	for order := range orders {
		want := contract.OutcomeCaptured
		if order%3 == 0 {
			want = contract.OutcomeVoided
		}
		equal(t, "capture again", p.capture(t, order), want)
		equal(t, "void again", p.void(t, order), want)
	}
	p.clock.Advance(time.Hour)
	equal(t, "refund of an old order", p.refund(t, 1, "r1", 4), contract.OutcomeRefunded)
	for order := orders; order < orders+20; order++ { // push the refunded order out of the head once more
		p.authorize(t, order, 1)
		p.void(t, order)
	}
	equal(t, "the same refund again", p.refund(t, 1, "r1", 4), contract.OutcomeRefunded)
	equal(t, "more than is left", p.refund(t, 1, "r2", 7), contract.OutcomeExceedsCaptured)
	equal(t, "what is left", p.refund(t, 1, "r2", 6), contract.OutcomeRefunded)
	equal(t, "the same deposit again", p.deposit(t, alice, "k", 10_000).Status, "succeeded")
	equal(t, "orders in the audit", p.sound(t).Counts["orders"], orders+20)
}

func TestHistoryPagesThroughTheArchive(t *testing.T) {
	p := fresh(limited(2, 4))
	p.deposit(t, alice, "k", 10_000)
	for order := range 40 {
		p.authorize(t, order, 10)
		p.capture(t, order)
	}
	var seen []int64
	cursor := ""
	for {
		entries, next, err := app.ListPostings{Ledger: p.ledger}.Do(t.Context(), alice, cursor, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			seen = append(seen, e.Sequence)
		}
		if cursor = next; cursor == "" {
			break
		}
		order := 100 + len(seen)
		p.authorize(t, order, 1) // new postings do not disturb a reader
		p.capture(t, order)
	}
	for i, sequence := range seen {
		if sequence != int64(41-i) {
			t.Fatalf("sequences are %v", seen)
		}
	}
	equal(t, "postings", len(seen), 41)
	list := app.ListPostings{Ledger: p.ledger}
	if entries, next, err := list.Do(t.Context(), bob, "", 7); err != nil || len(entries) != 0 || next != "" {
		t.Errorf("a wallet never used: %v, %q, %v", entries, next, err)
	}
	if _, _, err := list.Do(t.Context(), alice, "nonsense", 7); err == nil {
		t.Error("a cursor of nobody was accepted")
	}
}

func TestEventsCarryTheirCause(t *testing.T) {
	p := fresh()
	ctx := correlation.With(t.Context(), "cause-1")
	if _, err := p.deposits.Do(ctx, request(alice, "k", "tok_ok", 100)); err != nil {
		t.Fatal(err)
	}
	p.authorize(t, 1, 10)
	p.capture(t, 1)
	p.refund(t, 1, "r1", 10)
	for range 2 { // a refusal is final, and a repeat of the command is no second fact
		equal(t, "a payment that is too high", p.authorize(t, 2, 500), contract.OutcomeInsufficientFunds)
	}
	account, err := p.ledger.Accounts.Get(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range account.Timeline {
		var moved contract.Moved
		if err := e.Decode(&moved); err != nil || moved.UserID != alice || e.Subject != alice || e.Source != contract.App {
			t.Errorf("event %+v, %v", e, err)
		}
		got = append(got, fmt.Sprintf("%s %d", e.Type, moved.Amount.Amount))
	}
	want := fmt.Sprint([]string{contract.EventDeposited + " 100", contract.EventCaptured + " 10", contract.EventRefunded + " 10", contract.EventDeclined + " 500"})
	equal(t, "events", fmt.Sprint(got), want)
	equal(t, "correlation", account.Timeline[0].CorrelationID, "cause-1")
}
