package app_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/clock"
	"caravan/internal/clock/clocktest"
	"caravan/internal/correlation"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/services/payments/adapters/testbank"
	"caravan/services/payments/app"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// frontBank stands between payments and the test bank.
type frontBank struct {
	app.Bank
	silent  atomic.Bool
	charges atomic.Int64
	asked   atomic.Int64
}

var errSilent = errors.New("the bank does not answer")

func (b *frontBank) Charge(ctx context.Context, c app.Charge) (app.Answer, error) {
	b.charges.Add(1)
	if b.silent.Load() {
		return app.Answer{}, errSilent
	}
	return b.Bank.Charge(ctx, c)
}

func (b *frontBank) Outcome(ctx context.Context, operationID string) (app.Answer, error) {
	b.asked.Add(1)
	if b.silent.Load() {
		return app.Answer{}, errSilent
	}
	return b.Bank.Outcome(ctx, operationID)
}

func TestReconcilerWaitsForABankThatIsAway(t *testing.T) {
	front := &frontBank{}
	store, clk := documenttest.NewStore(), clocktest.At(placed)
	p := start(store, clk, func(b app.Bank) app.Bank { front.Bank = b; return front })
	front.silent.Store(true)
	ctx := correlation.With(t.Context(), "cause-1")
	const deposits = 10
	for i := range deposits {
		d, err := p.deposits.Do(ctx, request(alice, fmt.Sprint(i), "tok_ok", 100))
		if err != nil || d.Status != domain.DepositPending {
			t.Fatalf("got %+v, %v; want pending", d, err)
		}
	}
	const passes = 20
	for range passes { // the feed moves on, the pending ones are carried along
		if err := p.reconciler.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		clk.Advance(20 * time.Second)
	}
	balance, _ := p.balance(t, alice)
	equal(t, "balance while the bank is away", balance, 0)
	if asked := front.charges.Load(); asked > deposits {
		t.Errorf("a bank that is away was charged %d times", asked)
	}
	if asked := front.asked.Load(); asked > 3*passes {
		t.Errorf("a bank that is away was asked %d times in %d passes", asked, passes)
	}
	front.silent.Store(false)
	p = start(store, clk, func(b app.Bank) app.Bank { front.Bank = b; return front }) // also after a restart
	if err := p.reconciler.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	balance, _ = p.balance(t, alice)
	equal(t, "balance", balance, 100*deposits)
	equal(t, "pending", p.sound(t).Counts["pendingDeposits"], 0)
	account, err := p.ledger.Accounts.Get(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "correlation of what was settled in the background", account.Timeline[0].CorrelationID, "cause-1")
}

// The index entry comes before the deposit: a pass that sees only the entry must come back for the deposit.
func TestReconcilerComesBackForADepositThatIsBeingWritten(t *testing.T) {
	front := &frontBank{}
	front.silent.Store(true)
	store, clk := documenttest.NewStore(), clocktest.At(placed)
	p := start(store, clk, func(b app.Bank) app.Bank { front.Bank = b; return front })
	reconcile := func() {
		clk.Advance(10 * time.Second)
		if err := start(store, clk, nil).reconciler.Pass(t.Context()); err != nil {
			t.Error(err)
		}
	}
	var once sync.Once
	store.BeforePut(func(key string, _ []byte) error {
		if strings.HasPrefix(key, domain.DepositPrefix) {
			once.Do(reconcile)
		}
		return nil
	})
	d, err := p.deposits.Do(t.Context(), request(alice, "k", "tok_ok", 100))
	if err != nil || d.Status != domain.DepositPending {
		t.Fatalf("got %+v, %v; want pending", d, err)
	}
	reconcile()
	front.silent.Store(false)
	balance, _ := p.balance(t, alice)
	equal(t, "balance", balance, 100)
	p.sound(t)
}

// A pass that stands still between two reads of the feed comes back for what was entered meanwhile where it had read
// already.
func TestReconcilerComesBackForADepositEnteredBehindIt(t *testing.T) {
	front := &frontBank{}
	front.silent.Store(true)
	store, clk := documenttest.NewStore(), clocktest.At(placed)
	p := start(store, clk, func(b app.Bank) app.Bank { front.Bank = b; return front })
	deposit := func(key string) {
		if d, err := p.deposits.Do(t.Context(), request(alice, key, "tok_ok", 100)); err != nil || d.Status != domain.DepositPending {
			t.Errorf("got %+v, %v; want pending", d, err)
		}
	}
	deposit("first")
	slot := indexSlot(t, store)
	clk.Advance(10 * time.Second)
	busy := 0 // the slot of a replica that makes more entries than one read covers, read after the slot of p
	for name := 0; busy <= slot; name++ {
		other := documenttest.NewStore()
		if err := feed.NewIndex(other, clk, feed.DefaultTiming(), fmt.Sprint(name)).Append(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		if busy = indexSlot(t, other); busy > slot {
			index := feed.NewIndex(store, clk, feed.DefaultTiming(), fmt.Sprint(name))
			for i := range 450 {
				if err := index.Append(t.Context(), fmt.Sprintf("account/%d", i)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	stood := false
	store.BeforeGet(func(keys []string) error {
		parts := strings.Split(keys[0], "/")
		if n, _ := strconv.Atoi(parts[len(parts)-1]); !stood && parts[0] == "feed" && n > 392 { // where the second read begins
			stood = true
			deposit("second")
			clk.Advance(2 * time.Minute)
		}
		return nil
	})
	pass := func() {
		if err := p.reconciler.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		clk.Advance(20 * time.Second)
	}
	pass()
	if !stood {
		t.Fatal("the pass read the feed at once")
	}
	front.silent.Store(false)
	pass()
	pass()
	balance, _ := p.balance(t, alice)
	equal(t, "balance", balance, 200)
}

// A deposit that is written minutes after its entry, when its request was given up, is settled nevertheless; and one that
// another replica has noted as pending meanwhile is not forgotten by a pass that missed it.
func TestReconcilerWaitsForADepositThatIsWrittenLate(t *testing.T) {
	front := &frontBank{}
	front.silent.Store(true)
	store, clk := documenttest.NewStore(), clocktest.At(placed)
	p := start(store, clk, func(b app.Bank) app.Bank { front.Bank = b; return front })
	pass := func(times int) {
		for range times {
			if err := p.reconciler.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			clk.Advance(20 * time.Second)
		}
	}
	elsewhere := documenttest.NewStore() // where the sidecar that stands still keeps the write
	late := start(elsewhere, clk, func(app.Bank) app.Bank { return front })
	deposit, err := late.deposits.Do(t.Context(), request(alice, "late", "tok_ok", 100))
	if err != nil || deposit.Status != domain.DepositPending {
		t.Fatalf("got %+v, %v; want pending", deposit, err)
	}
	key := domain.DepositPrefix + deposit.ID
	index := feed.NewIndex(store, clk, feed.DefaultTiming(), "writer")
	for _, entered := range []string{key, domain.DepositPrefix + "never"} {
		if err := index.Append(t.Context(), entered); err != nil {
			t.Fatal(err)
		}
	}
	pass(20)
	records, err := elsewhere.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), key, records[key].Value, ""); err != nil {
		t.Fatal(err)
	}
	pass(1)
	front.silent.Store(false)
	pass(2)
	balance, _ := p.balance(t, alice)
	equal(t, "balance", balance, 100)
	pass(60)
	progress, err := store.Get(t.Context(), "reconciler/deposits")
	if err != nil || strings.Contains(string(progress["reconciler/deposits"].Value), "never") {
		t.Errorf("what was never written is still looked for: %s, %v", progress["reconciler/deposits"].Value, err)
	}
}

// indexSlot is the slot of the only index entry in a store.
func indexSlot(t *testing.T, store *documenttest.FakeStore) int {
	t.Helper()
	for _, key := range store.Keys() {
		if parts := strings.Split(key, "/"); parts[0] == "feed" && len(parts) == 4 {
			slot, err := strconv.Atoi(parts[2])
			if err != nil {
				t.Fatal(err)
			}
			return slot
		}
	}
	t.Fatal("the store has no index entry")
	return 0
}

func TestReconcilerLeavesRequestsUnderWayAlone(t *testing.T) {
	front := &frontBank{}
	front.silent.Store(true)
	store, clk := documenttest.NewStore(), clocktest.At(placed)
	p := start(store, clk, func(b app.Bank) app.Bank { front.Bank = b; return front })
	if _, err := p.deposits.Do(t.Context(), request(alice, "k", "tok_ok", 100)); err != nil {
		t.Fatal(err)
	}
	front.silent.Store(false)
	for _, c := range []struct {
		wait    time.Duration
		balance int64
	}{{0, 0}, {5 * time.Second, 0}, {2 * time.Second, 100}} {
		clk.Advance(c.wait)
		if err := p.reconciler.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		balance, _ := p.balance(t, alice)
		equal(t, fmt.Sprintf("balance after another %s", c.wait), balance, c.balance)
	}
}

// A deposit without an answer is asked about right after its request, and does not wait for the next pass.
func TestASilentBankIsAskedAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := document.Options{Source: contract.App, Clock: clock.System{}, IDs: id.Random{}}
		store, log := documenttest.NewStore(), slog.New(slog.DiscardHandler)
		opts.Index = feed.NewIndex(store, clock.System{}, feed.DefaultTiming(), "writer")
		bank := testbank.New(store, clock.System{}, id.Random{}, time.Minute)
		deposits := app.NewDeposits(app.NewLedger(store, opts, "EUR", domain.DefaultLimits()), store, opts, bank, log, 5*time.Second)
		reader := feed.NewReader(store, clock.System{}, feed.DefaultTiming())
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- app.NewReconciler(deposits, reader, store, opts, log, 10*time.Minute).Run(ctx) }()
		time.Sleep(time.Minute)
		d, err := app.Deposit{Deposits: deposits}.Do(t.Context(), request(alice, "k", testbank.SourceTimeout, 100))
		if err != nil || d.Status != domain.DepositPending {
			t.Fatalf("got %+v, %v", d, err)
		}
		time.Sleep(time.Second)
		if d, err = (app.ShowDeposit{Deposits: deposits}).Do(t.Context(), alice, d.ID); err != nil || d.Status != domain.DepositSucceeded {
			t.Errorf("a second later it is %+v, %v", d, err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
