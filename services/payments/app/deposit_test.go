package app_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"caravan/internal/clock/clocktest"
	"caravan/internal/document/documenttest"
	"caravan/internal/money"
	"caravan/services/payments/adapters/testbank"
	"caravan/services/payments/app"
	"caravan/services/payments/domain"
)

func TestDepositsBySource(t *testing.T) {
	for _, c := range []struct {
		source  string
		status  domain.DepositStatus
		reason  string
		later   domain.DepositStatus
		balance int64
	}{
		{testbank.SourceOK, domain.DepositSucceeded, "", domain.DepositSucceeded, 100},
		{testbank.SourceDeclined, domain.DepositDeclined, testbank.ReasonDeclined, domain.DepositDeclined, 0},
		{"tok_nobody", domain.DepositDeclined, testbank.ReasonUnknown, domain.DepositDeclined, 0},
		{testbank.SourceTimeout, domain.DepositPending, "", domain.DepositSucceeded, 100},
		{testbank.SourceTimeoutDeclined, domain.DepositPending, "", domain.DepositDeclined, 0},
	} {
		t.Run(c.source, func(t *testing.T) {
			p := fresh()
			d, err := p.deposits.Do(t.Context(), request(alice, "k", c.source, 100))
			if err != nil {
				t.Fatal(err)
			}
			if d.Status != c.status || d.Reason != c.reason {
				t.Errorf("got %s %q; want %s %q", d.Status, d.Reason, c.status, c.reason)
			}
			again, err := p.deposits.Do(t.Context(), request(alice, "k", c.source, 100))
			if err != nil {
				t.Fatal(err)
			}
			if again.ID != d.ID || again.Status != c.later {
				t.Errorf("repeat: got %s %s; want %s %s", again.ID, again.Status, d.ID, c.later)
			}
			balance, _ := p.balance(t, alice)
			equal(t, "balance", balance, c.balance)
			declines := 0 // a user who had the answer already gets no event
			for _, e := range again.Timeline {
				if e.Type == contract.EventDepositDeclined {
					declines++
				}
			}
			if late := c.status == domain.DepositPending && c.later == domain.DepositDeclined; late != (declines == 1) || declines > 1 {
				t.Errorf("the deposit has %d events of a decline", declines)
			}
			p.sound(t)
		})
	}
}

func TestDepositRefusals(t *testing.T) {
	p := fresh()
	p.deposit(t, alice, "k", 100)
	if _, err := p.deposits.Do(t.Context(), request(alice, "k", "tok_ok", 101)); !errors.Is(err, domain.ErrKeyReused) {
		t.Errorf("the same key with another body: %v", err)
	}
	usd := request(alice, "other", "tok_ok", 100)
	usd.Amount = money.New(100, "USD")
	var refused *app.CurrencyError
	if _, err := p.deposits.Do(t.Context(), usd); !errors.As(err, &refused) || refused.Wallet != "EUR" {
		t.Errorf("another currency than that of the wallet: %v", err)
	}
	balance, _ := p.balance(t, alice)
	equal(t, "balance", balance, 100)
	equal(t, "charges", p.sound(t).Counts["charges"], 1)
}

func TestKeysOfTwoUsersDoNotMeet(t *testing.T) {
	p := fresh()
	d := p.deposit(t, alice, "k", 100)
	if other := p.deposit(t, bob, "k", 30); other.ID == d.ID {
		t.Error("two users share a deposit")
	}
	if _, err := p.showDeposit.Do(t.Context(), alice, d.ID); err != nil {
		t.Errorf("own deposit: %v", err)
	}
	if _, err := p.showDeposit.Do(t.Context(), bob, d.ID); !errors.Is(err, domain.ErrNoDeposit) {
		t.Errorf("another user's deposit: %v", err)
	}
	equal(t, "accounts", p.sound(t).Counts["accounts"], 2)
}

// The same request 20 times at once, through two replicas, has one effect.
func TestConcurrentDepositsWithOneKey(t *testing.T) {
	store, clk := documenttest.NewStore(), clocktest.At(placed)
	replicas := []*fakeProcess{start(store, clk, nil), start(store, clk, nil)}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if d := replicas[i%2].deposit(t, alice, "k", 100); d.Status != domain.DepositSucceeded {
				t.Errorf("got %s", d.Status)
			}
		})
	}
	all.Wait()
	balance, _ := replicas[0].balance(t, alice)
	equal(t, "balance", balance, 100)
	counts := replicas[0].sound(t).Counts
	equal(t, "charges", counts["charges"], 1)
	equal(t, "accounts", counts["accounts"], 1)
	equal(t, "taken by the bank", counts["charged.EUR"], 100)
}

// A crash before and after each write of a deposit: the client's repeat after a restart has one effect, and so has the
// reconciler when the client never comes back.
func TestDepositSurvivesACrashAtEachWrite(t *testing.T) {
	counting := fresh()
	counting.deposit(t, alice, "k", 100)
	writes := counting.writes.Load()
	if writes < 6 {
		t.Fatalf("a deposit takes %d writes; something is not stored", writes)
	}
	for _, source := range []string{testbank.SourceOK, testbank.SourceTimeout} {
		for n := int64(1); n <= writes; n++ {
			for _, afterwards := range []bool{false, true} {
				name := fmt.Sprintf("%s/write %d lands %t", source, n, afterwards)
				t.Run(name+"/client repeats", func(t *testing.T) { crashThenRepeat(t, source, n, afterwards) })
				t.Run(name+"/reconciler", func(t *testing.T) { crashThenReconcile(t, source, n, afterwards) })
			}
		}
	}
}

func crashThenRepeat(t *testing.T, source string, n int64, afterwards bool) {
	store, clk := documenttest.NewStore(), clocktest.At(placed)
	_, _ = start(store, clk, nil, crashing(n, afterwards)).deposits.Do(t.Context(), request(alice, "k", source, 100))
	p := start(store, clk, nil)
	for range 2 { // a silent bank leaves the first repeat pending if it had not been called before
		if _, err := p.deposits.Do(t.Context(), request(alice, "k", source, 100)); err != nil {
			t.Fatal(err)
		}
	}
	balance, _ := p.balance(t, alice)
	equal(t, "balance", balance, 100)
	all := p.sound(t)
	equal(t, "taken by the bank", all.Counts["charged.EUR"], 100)
	equal(t, "accounts", all.Counts["accounts"], 1)
	equal(t, "pending", all.Counts["pendingDeposits"], 0)
}

func crashThenReconcile(t *testing.T, source string, n int64, afterwards bool) {
	store, clk := documenttest.NewStore(), clocktest.At(placed)
	_, _ = start(store, clk, nil, crashing(n, afterwards)).deposits.Do(t.Context(), request(alice, "k", source, 100))
	p := start(store, clk, nil)
	for range 4 {
		if err := p.reconciler.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		clk.Advance(20 * time.Second)
	}
	all := p.sound(t)
	equal(t, "pending", all.Counts["pendingDeposits"], 0)
	balance, _ := p.balance(t, alice)
	equal(t, "what the bank took and what is in the wallet", all.Counts["charged.EUR"], balance)
}
