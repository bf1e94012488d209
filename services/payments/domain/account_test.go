package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"caravan/internal/audit"
	"caravan/internal/money"
	checks "caravan/services/payments/audit"
	"caravan/services/payments/contract"
	. "caravan/services/payments/domain"
)

var (
	placed = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	order1 = Order{ID: "order-1", PlacedAt: placed}
)

func eur(amount int64) money.Money { return money.New(amount, "EUR") }

// step is one operation of a given/when/then case.
type step struct {
	name    string
	run     func(a *Account) (Result, error)
	outcome string
	changed bool
	err     error
}

func authorize(amount int64, outcome string, changed bool) step {
	return step{fmt.Sprintf("authorize %d", amount), func(a *Account) (Result, error) { return a.Authorize(order1, eur(amount), Past{}) }, outcome, changed, nil}
}

func capture(outcome string, changed bool) step {
	return step{"capture", func(a *Account) (Result, error) { return a.Capture(order1, placed, Past{}) }, outcome, changed, nil}
}

func void(outcome string, changed bool) step {
	return step{"void", func(a *Account) (Result, error) { return a.Void(order1, Past{}) }, outcome, changed, nil}
}

func refund(id string, amount int64, outcome string, changed bool) step {
	return step{fmt.Sprintf("refund %s %d", id, amount), func(a *Account) (Result, error) { return a.Refund(order1, id, eur(amount), placed, Past{}) }, outcome, changed, nil}
}

func (s step) fails(err error) step {
	s.outcome, s.changed, s.err = "", false, err
	return s
}

// wallet is an open account with a balance.
func wallet(t *testing.T, balance int64) *Account {
	t.Helper()
	a := new(Account)
	a.Open("user-1", "EUR", "entry-1")
	if balance > 0 {
		if _, err := a.Credit("deposit-0", eur(balance), placed, placed, Past{}); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func TestAccount(t *testing.T) {
	for _, c := range []struct {
		name          string
		balance       int64
		steps         []step
		wantBalance   int64
		wantAvailable int64
	}{
		{"a hold lowers what is available, not the balance", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true)}, 100, 40},
		{"AUT-DUP: a repeated authorize holds once", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), authorize(60, contract.OutcomeAuthorized, false)}, 100, 40},
		{"all that is available may be held", 100,
			[]step{authorize(100, contract.OutcomeAuthorized, true)}, 100, 0},
		{"more than available is refused for good", 100,
			[]step{authorize(101, contract.OutcomeInsufficientFunds, true), authorize(101, contract.OutcomeInsufficientFunds, false),
				authorize(100, contract.OutcomeInsufficientFunds, false), void(contract.OutcomeVoided, false), capture(contract.OutcomeVoided, false)}, 100, 100},
		{"an order of nothing can be authorized and captured", 0,
			[]step{authorize(0, contract.OutcomeAuthorized, true), capture(contract.OutcomeCaptured, true)}, 0, 0},
		{"the same order with another amount is refused", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), authorize(61, "", false).fails(ErrOperationReused)}, 100, 40},
		{"a negative amount is refused", 100, []step{authorize(-1, "", false).fails(ErrAmount)}, 100, 100},
		{"capture takes the held money", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), capture(contract.OutcomeCaptured, true)}, 40, 40},
		{"CAP-DUP: a repeated capture takes once", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), capture(contract.OutcomeCaptured, true), capture(contract.OutcomeCaptured, false)}, 40, 40},
		{"authorize after capture answers authorized", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), capture(contract.OutcomeCaptured, true), authorize(60, contract.OutcomeAuthorized, false)}, 40, 40},
		{"capture of an unknown order is refused", 100, []step{capture("", false).fails(ErrNotAuthorized)}, 100, 100},
		{"void releases the held money", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), void(contract.OutcomeVoided, true), void(contract.OutcomeVoided, false)}, 100, 100},
		{"AUT-REO: void before authorize holds nothing later", 100,
			[]step{void(contract.OutcomeVoided, true), authorize(60, contract.OutcomeVoided, false), capture(contract.OutcomeVoided, false)}, 100, 100},
		{"authorize after void answers voided", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), void(contract.OutcomeVoided, true), authorize(60, contract.OutcomeVoided, false)}, 100, 100},
		{"authorize of another amount after void is refused", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), void(contract.OutcomeVoided, true), authorize(61, "", false).fails(ErrOperationReused)}, 100, 100},
		{"CAP-DLY: capture after void answers voided", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), void(contract.OutcomeVoided, true), capture(contract.OutcomeVoided, false)}, 100, 100},
		{"CAP-DLY: void after capture answers captured", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), capture(contract.OutcomeCaptured, true), void(contract.OutcomeCaptured, false)}, 40, 40},
		{"refunds return the captured money in parts", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), capture(contract.OutcomeCaptured, true),
				refund("r1", 20, contract.OutcomeRefunded, true), refund("r2", 40, contract.OutcomeRefunded, true)}, 100, 100},
		{"RFD-DUP: a repeated refund pays once", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), capture(contract.OutcomeCaptured, true),
				refund("r1", 20, contract.OutcomeRefunded, true), refund("r1", 20, contract.OutcomeRefunded, false)}, 60, 60},
		{"a refund id with another amount is refused", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), capture(contract.OutcomeCaptured, true),
				refund("r1", 20, contract.OutcomeRefunded, true), refund("r1", 21, "", false).fails(ErrOperationReused)}, 60, 60},
		{"refunds never exceed what was captured", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), capture(contract.OutcomeCaptured, true),
				refund("r1", 50, contract.OutcomeRefunded, true), refund("r2", 11, contract.OutcomeExceedsCaptured, false),
				refund("r3", 10, contract.OutcomeRefunded, true)}, 100, 100},
		{"RFD-REO: a refund before the capture finds nothing captured", 100,
			[]step{refund("r1", 10, contract.OutcomeNotCaptured, false), authorize(60, contract.OutcomeAuthorized, true),
				refund("r1", 10, contract.OutcomeNotCaptured, false)}, 100, 40},
		{"a refund of a voided order finds nothing captured", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), void(contract.OutcomeVoided, true), refund("r1", 10, contract.OutcomeNotCaptured, false)}, 100, 100},
		{"a refund of nothing is refused", 100,
			[]step{authorize(60, contract.OutcomeAuthorized, true), capture(contract.OutcomeCaptured, true), refund("r1", 0, "", false).fails(ErrAmount)}, 40, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := wallet(t, c.balance)
			for _, s := range c.steps {
				before := encode(t, a)
				got, err := s.run(a)
				if !errors.Is(err, s.err) || got != (Result{s.outcome, s.changed}) {
					t.Fatalf("%s: got %+v, %v; want %s changed=%t, %v", s.name, got, err, s.outcome, s.changed, s.err)
				}
				if !s.changed && encode(t, a) != before {
					t.Fatalf("%s changed the account without saying so", s.name)
				}
				var found audit.Results
				if checks.CheckAccount(&found, a); len(found.Findings) > 0 {
					t.Fatalf("after %s: %v", s.name, found.Findings)
				}
			}
			if a.Books.Balance != c.wantBalance || a.Available().Amount != c.wantAvailable {
				t.Errorf("balance %d, available %d; want %d and %d", a.Books.Balance, a.Available().Amount, c.wantBalance, c.wantAvailable)
			}
		})
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAccountThatIsNotOpen(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(a *Account) (Result, error)
		want Result
		err  error
	}{
		{"authorize needs an account for its hold or tombstone", func(a *Account) (Result, error) { return a.Authorize(order1, eur(1), Past{}) }, Result{}, ErrNotOpen},
		{"authorize of nothing needs one too", func(a *Account) (Result, error) { return a.Authorize(order1, eur(0), Past{}) }, Result{}, ErrNotOpen},
		{"void needs an account for its tombstone", func(a *Account) (Result, error) { return a.Void(order1, Past{}) }, Result{}, ErrNotOpen},
		{"capture finds no order", func(a *Account) (Result, error) { return a.Capture(order1, placed, Past{}) }, Result{}, ErrNotAuthorized},
		{"refund finds no order", func(a *Account) (Result, error) { return a.Refund(order1, "r", eur(1), placed, Past{}) }, Result{Outcome: contract.OutcomeNotCaptured}, nil},
		{"credit needs an account", func(a *Account) (Result, error) { return a.Credit("d", eur(1), placed, placed, Past{}) }, Result{}, ErrNotOpen},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.run(new(Account))
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestCredit(t *testing.T) {
	a := wallet(t, 0)
	credit := func(id string, amount money.Money) (Result, error) {
		return a.Credit(id, amount, placed, placed, Past{})
	}
	if got, err := credit("d1", eur(100)); err != nil || got != (Result{Changed: true}) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got, err := credit("d1", eur(100)); err != nil || got != (Result{}) {
		t.Fatalf("repeat: got %+v, %v", got, err)
	}
	for _, c := range []struct {
		id     string
		amount money.Money
		err    error
	}{
		{"d1", eur(101), ErrOperationReused},
		{"d2", eur(0), ErrAmount},
		{"d2", eur(-1), ErrAmount},
		{"d2", money.New(1, "USD"), money.ErrCurrency},
		{"d2", eur(math.MaxInt64), money.ErrOverflow},
	} {
		if _, err := credit(c.id, c.amount); !errors.Is(err, c.err) {
			t.Errorf("credit %s %v: %v; want %v", c.id, c.amount, err, c.err)
		}
	}
	if a.Books.Balance != 100 || a.Books.Counters[CounterBank] != -100 || len(a.Postings) != 1 {
		t.Errorf("account is %+v", a)
	}
}

// An early authorization holds what is available. Otherwise it changes nothing, and the one that follows decides.
func TestAuthorizeEarly(t *testing.T) {
	a := wallet(t, 100)
	before := a.Held
	for name, amount := range map[string]money.Money{"too much": eur(101), "another currency": money.New(1, "USD")} {
		got, err := a.AuthorizeEarly(order1, amount, Past{})
		if err != nil || got.Changed || got.Outcome != contract.OutcomeInsufficientFunds || a.Held != before || len(a.Holds) != 0 {
			t.Errorf("%s: %+v, %v; the account is %+v", name, got, err, a)
		}
	}
	for _, changed := range []bool{true, false} { // the first time, and again when nothing more is available
		if got, err := a.AuthorizeEarly(order1, eur(100), Past{}); err != nil || got.Changed != changed || got.Outcome != contract.OutcomeAuthorized {
			t.Errorf("available: %+v, %v", got, err)
		}
	}
	mustChange(t, run(a, void(contract.OutcomeVoided, true)))
	if got, err := a.AuthorizeEarly(order1, eur(100), Past{}); err != nil || got.Changed || got.Outcome != contract.OutcomeVoided {
		t.Errorf("after a void: %+v, %v", got, err)
	}
	if _, err := new(Account).AuthorizeEarly(order1, eur(1), Past{}); !errors.Is(err, ErrNotOpen) {
		t.Errorf("without an account: %v", err)
	}
}

func TestMoneyInAnotherCurrency(t *testing.T) {
	a := wallet(t, 100)
	usd := money.New(10, "USD")
	if got, err := a.Authorize(Order{ID: "in-dollars", PlacedAt: placed}, usd, Past{}); err != nil || got.Outcome != contract.OutcomeInsufficientFunds {
		t.Errorf("authorize: %+v, %v", got, err)
	}
	mustChange(t, run(a, authorize(10, contract.OutcomeAuthorized, true)))
	if _, err := a.Authorize(order1, usd, Past{}); !errors.Is(err, ErrOperationReused) {
		t.Errorf("repeated authorize: %v", err)
	}
	mustChange(t, run(a, capture(contract.OutcomeCaptured, true)))
	if got, err := a.Refund(order1, "r", usd, placed, Past{}); err != nil || got.Outcome != contract.OutcomeExceedsCaptured {
		t.Errorf("refund: %+v, %v", got, err)
	}
}

func run(a *Account, s step) error {
	got, err := s.run(a)
	if err == nil && !got.Changed {
		err = fmt.Errorf("%s: %s, nothing changed", s.name, got.Outcome)
	}
	return err
}

func mustChange(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBoundsOfOneAccount(t *testing.T) {
	a := wallet(t, 10_000)
	for i := range MaxActiveHolds {
		if got, err := a.Authorize(Order{fmt.Sprint(i), placed}, eur(1), Past{}); err != nil || !got.Changed {
			t.Fatal(got, err)
		}
	}
	if _, err := a.Authorize(order1, eur(1), Past{}); !errors.Is(err, ErrTooManyHolds) {
		t.Errorf("one hold too many: %v", err)
	}
	if got, err := a.Authorize(Order{"7", placed}, eur(1), Past{}); err != nil || got.Outcome != contract.OutcomeAuthorized {
		t.Errorf("a repeat with all holds open: %+v, %v", got, err)
	}
	if _, err := a.Capture(Order{"0", placed}, placed, Past{}); err != nil {
		t.Fatal(err)
	}
	mustChange(t, run(a, authorize(200, contract.OutcomeAuthorized, true)))
	mustChange(t, run(a, capture(contract.OutcomeCaptured, true)))
	for i := range MaxRefunds {
		mustChange(t, run(a, refund(fmt.Sprint(i), 1, contract.OutcomeRefunded, true)))
	}
	if _, err := a.Refund(order1, "more", eur(1), placed, Past{}); !errors.Is(err, ErrTooManyRefunds) {
		t.Errorf("one refund too many: %v", err)
	}
}

func TestDepositEndsOnce(t *testing.T) {
	d := new(Deposit)
	asked := Deposit{ID: "d1", UserID: "u1", Amount: eur(5), Fingerprint: "f", CreatedAt: placed}
	if first, err := d.Request(asked); !first || err != nil || d.Status != DepositPending {
		t.Fatalf("first request: %t, %v, %+v", first, err, d)
	}
	later := asked
	later.CreatedAt = placed.Add(time.Hour)
	if first, err := d.Request(later); first || err != nil || !d.CreatedAt.Equal(placed) {
		t.Fatalf("repeat: %t, %v, %+v", first, err, d)
	}
	other := asked
	other.Fingerprint = "g"
	if _, err := d.Request(other); !errors.Is(err, ErrKeyReused) {
		t.Fatalf("other body: %v", err)
	}
	if !d.End(DepositDeclined, "no", placed) || d.End(DepositSucceeded, "", placed) || d.Status != DepositDeclined {
		t.Fatalf("ended twice: %+v", d)
	}
}
