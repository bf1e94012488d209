package domain_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	checks "caravan/services/payments/audit"
	"caravan/services/payments/contract"
	. "caravan/services/payments/domain"
)

// archived keeps what an account archives, as the repository does, and finds it again.
type archived struct {
	store *documenttest.FakeStore
	reads int
}

func newArchived() *archived {
	s := &archived{store: documenttest.NewStore()}
	s.store.BeforeGet(func(keys []string) error { s.reads++; return nil })
	return s
}

// take moves the sealed documents of an account to the store.
func (s *archived) take(t fatal, a *Account) {
	for _, sealed := range a.Sealed {
		if err := s.store.Put(context.Background(), sealed.Key, sealed.Value, ""); err != nil {
			t.Fatalf("archiving %s: %v", sealed.Key, err)
		}
	}
	a.Sealed = nil
}

type fatal interface{ Fatalf(string, ...any) }

// walk visits segments from the youngest to the oldest.
func (s *archived) walk(t fatal, a *Account, within func(Part) bool, visit func(at Place, s Segment) bool) {
	walk := document.Walk[Span]{
		Store: s.store, Prefix: ArchivePrefix(a.UserID), Root: &a.Root, NewestFirst: true,
		Within: func(r document.Ref[Span], _ int) bool { return within(a.Archived.Part(r)) },
	}
	if err := document.Leaves(context.Background(), &a.Archived.Tree, walk, func(r document.Ref[Span], segment Segment) bool {
		return visit(Place{Key: document.TreeKey(walk.Prefix, 0, r.First), Sum: r.Summary.Sum}, segment)
	}); err != nil {
		t.Fatalf("reading the archive: %v", err)
	}
}

func (s *archived) past(t fatal, a *Account, order, deposit string, instant time.Time) Past {
	past := Past{Count: a.Archived.Count}
	s.walk(t, a, func(p Part) bool { return p.Covers(instant) }, func(_ Place, seg Segment) bool {
		if h, ok := seg.Holds[order]; ok {
			past.Hold = &h
		}
		for i, p := range seg.Postings {
			if p.Kind == KindDeposit && p.Operation == deposit {
				past.Posting = &seg.Postings[i]
			}
		}
		return past.Hold == nil && past.Posting == nil
	})
	return past
}

// modelOrder is what a wallet must remember of an order, told without holds, heads or archives.
type modelOrder struct {
	amount  int64
	state   State
	refunds map[string]int64
	refused bool // for want of money
}

func (o *modelOrder) refunded() int64 {
	var sum int64
	for _, amount := range o.refunds {
		sum += amount
	}
	return sum
}

// machine runs an account beside its model.
type machine struct {
	account  *Account
	archive  *archived
	limits   Limits
	orders   map[string]*modelOrder
	deposits map[string]int64
	now      time.Time
}

// operate runs an operation as the application does, with another try when the archive must be searched, and
// compares its result.
func (m *machine) operate(t *rapid.T, order, deposit string, instant time.Time, run func(past Past) (Result, error), want string, wantErr error) {
	result, err := run(Past{})
	if errors.Is(err, ErrArchive) {
		result, err = run(m.archive.past(t, m.account, order, deposit, instant))
	}
	if !errors.Is(err, wantErr) || result.Outcome != want {
		t.Fatalf("got %+v, %v; want %q, %v", result, err, want, wantErr)
	}
	if result.Changed {
		m.account.Trim(m.limits)
		m.archive.take(t, m.account)
	}
	m.restore(t)
}

// restore sends the account through its stored form.
func (m *machine) restore(t *rapid.T) {
	b, err := json.Marshal(m.account)
	if err != nil {
		t.Fatalf("encoding: %v", err)
	}
	m.account = new(Account)
	if err := json.Unmarshal(b, m.account); err != nil {
		t.Fatalf("decoding: %v", err)
	}
}

func (m *machine) order(t *rapid.T) Order {
	n := rapid.IntRange(0, 30).Draw(t, "order")
	return Order{ID: fmt.Sprintf("o%d", n), PlacedAt: placed.Add(time.Duration(n) * time.Second)}
}

func (m *machine) balance() int64 {
	var sum int64
	for _, amount := range m.deposits {
		sum += amount
	}
	for _, o := range m.orders {
		if o.state == Captured {
			sum -= o.amount - o.refunded()
		}
	}
	return sum
}

func (m *machine) held() int64 {
	var sum int64
	for _, o := range m.orders {
		if o.state == Authorized {
			sum += o.amount
		}
	}
	return sum
}

func (m *machine) deposit(t *rapid.T) {
	n := rapid.IntRange(0, 20).Draw(t, "deposit")
	id, since := fmt.Sprintf("d%d", n), placed.Add(time.Duration(n)*time.Second)
	amount := rapid.SampledFrom([]int64{50, 100}).Draw(t, "amount")
	want := ""
	var wantErr error
	switch booked, known := m.deposits[id]; {
	case known && booked != amount:
		want, wantErr = "", ErrOperationReused
	case !known:
		m.deposits[id] = amount
	}
	m.operate(t, "", id, since, func(past Past) (Result, error) {
		return m.account.Credit(id, eur(amount), since, m.now, past)
	}, want, wantErr)
}

func (m *machine) authorize(t *rapid.T) {
	order := m.order(t)
	amount := rapid.SampledFrom([]int64{10, 30}).Draw(t, "amount")
	early := rapid.Bool().Draw(t, "early")
	want := ""
	var wantErr error
	switch o, known := m.orders[order.ID]; {
	case known && o.amount != amount && (o.state != Voided || o.amount != 0):
		wantErr = ErrOperationReused
	case known && o.refused:
		want = contract.OutcomeInsufficientFunds
	case known && o.state == Voided:
		want = contract.OutcomeVoided
	case known:
		want = contract.OutcomeAuthorized
	case m.balance()-m.held() < amount && early:
		want = contract.OutcomeInsufficientFunds
	case m.balance()-m.held() < amount:
		want = contract.OutcomeInsufficientFunds
		m.orders[order.ID] = &modelOrder{state: Voided, refused: true}
	default:
		want = contract.OutcomeAuthorized
		m.orders[order.ID] = &modelOrder{amount: amount, state: Authorized, refunds: map[string]int64{}}
	}
	m.operate(t, order.ID, "", order.PlacedAt, func(past Past) (Result, error) {
		if early {
			return m.account.AuthorizeEarly(order, eur(amount), past)
		}
		return m.account.Authorize(order, eur(amount), past)
	}, want, wantErr)
}

func (m *machine) capture(t *rapid.T) {
	order := m.order(t)
	want, wantErr := contract.OutcomeCaptured, error(nil)
	switch o, known := m.orders[order.ID]; {
	case !known:
		want, wantErr = "", ErrNotAuthorized
	case o.state == Voided:
		want = contract.OutcomeVoided
	default:
		o.state = Captured
	}
	m.operate(t, order.ID, "", order.PlacedAt, func(past Past) (Result, error) {
		return m.account.Capture(order, m.now, past)
	}, want, wantErr)
}

func (m *machine) void(t *rapid.T) {
	order := m.order(t)
	want := contract.OutcomeVoided
	switch o, known := m.orders[order.ID]; {
	case !known:
		m.orders[order.ID] = &modelOrder{state: Voided}
	case o.state == Captured:
		want = contract.OutcomeCaptured
	default:
		o.state = Voided
	}
	m.operate(t, order.ID, "", order.PlacedAt, func(past Past) (Result, error) {
		return m.account.Void(order, past)
	}, want, nil)
}

func (m *machine) refund(t *rapid.T) {
	order := m.order(t)
	id := rapid.SampledFrom([]string{"r1", "r2", "r3"}).Draw(t, "refund")
	amount := rapid.SampledFrom([]int64{4, 10}).Draw(t, "amount")
	want, wantErr := contract.OutcomeRefunded, error(nil)
	o, known := m.orders[order.ID]
	switch {
	case !known || o.state != Captured:
		want = contract.OutcomeNotCaptured
	case o.refunds[id] != 0 && o.refunds[id] != amount:
		want, wantErr = "", ErrOperationReused
	case o.refunds[id] == amount:
	case o.refunded()+amount > o.amount:
		want = contract.OutcomeExceedsCaptured
	default:
		o.refunds[id] = amount
	}
	m.operate(t, order.ID, "", order.PlacedAt, func(past Past) (Result, error) {
		return m.account.Refund(order, id, eur(amount), m.now, past)
	}, want, wantErr)
}

// check compares the account with the model and audits it with its archive.
func (m *machine) check(t *rapid.T) {
	a := m.account
	if a.Books.Balance != m.balance() || a.Held != m.held() {
		t.Fatalf("balance %d held %d; want %d and %d", a.Books.Balance, a.Held, m.balance(), m.held())
	}
	finished := 0
	for _, h := range a.Holds {
		if h.Finished() {
			finished++
		}
	}
	if finished > m.limits.Max || len(a.Postings) > m.limits.Max {
		t.Fatalf("head holds %d finished holds and %d postings", finished, len(a.Postings))
	}
	var found audit.Results
	booked := make(checks.Booked)
	checks.CheckAccount(&found, a)
	booked.Check(&found, a.UserID, a.Postings)
	following, expected := a.Archived.Books, a.Archived.Count
	versions := maps.Clone(a.Holds)
	if versions == nil {
		versions = make(map[string]Hold)
	}
	m.archive.walk(t, a, func(Part) bool { return true }, func(at Place, s Segment) bool {
		if s.Number != expected {
			t.Fatalf("segment %d at the place of %d", s.Number, expected)
		}
		checks.CheckSegment(&found, a.UserID, at, s, following)
		booked.Check(&found, a.UserID, s.Postings)
		following, expected = s.Opening, expected-1
		for id, h := range s.Holds {
			if _, younger := versions[id]; !younger {
				versions[id] = h
			}
		}
		return true
	})
	if len(found.Findings) > 0 {
		t.Fatalf("audit: %v", found.Findings)
	}
	m.compareOrders(t, versions)
}

func (m *machine) compareOrders(t *rapid.T, versions map[string]Hold) {
	if len(versions) != len(m.orders) {
		t.Fatalf("account and archive know %d orders; want %d", len(versions), len(m.orders))
	}
	for id, o := range m.orders {
		if h := versions[id]; h.State != o.state || h.Refunded != o.refunded() {
			t.Fatalf("order %s is %+v; want %+v", id, h, o)
		}
	}
}

// Whatever arrives, how often and in what order: the account does what the model says, sums to zero, stays within its
// bounds, and forgets nothing that it archived.
func TestAccountFollowsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{
			account: new(Account), archive: newArchived(), limits: Limits{Keep: 1, Max: 3},
			orders: map[string]*modelOrder{}, deposits: map[string]int64{}, now: placed,
		}
		m.account.Open("user-1", "EUR", "entry-1")
		t.Repeat(map[string]func(*rapid.T){
			"deposit": m.deposit, "authorize": m.authorize, "capture": m.capture, "void": m.void, "refund": m.refund,
			"": m.check,
		})
	})
}

// A compensation commutes with what it compensates: however authorizes and voids of one order are ordered and repeated,
// once a void is among them nothing is held in the end.
func TestVoidCommutesWithAuthorize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		commands := rapid.SliceOfN(rapid.SampledFrom([]string{"authorize", "void"}), 1, 6).Draw(t, "commands")
		commands = rapid.Permutation(append(commands, "void")).Draw(t, "order")
		a := new(Account)
		a.Open("user-1", "EUR", "entry-1")
		if _, err := a.Credit("d", eur(100), placed, placed, Past{}); err != nil {
			t.Fatal(err)
		}
		for _, c := range commands {
			var err error
			if c == "void" {
				_, err = a.Void(order1, Past{})
			} else {
				_, err = a.Authorize(order1, eur(60), Past{})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if a.Held != 0 || a.Books.Balance != 100 || a.Holds["order-1"].State != Voided {
			t.Fatalf("after %v: %+v", commands, a)
		}
	})
}

func TestFindingInALongArchiveIsCheap(t *testing.T) {
	a := wallet(t, 1_000_000)
	archive := newArchived()
	const orders = 4000
	at := func(i int) Order {
		return Order{ID: fmt.Sprint(i), PlacedAt: placed.Add(time.Duration(i) * time.Second)}
	}
	for i := range orders {
		if _, err := a.Authorize(at(i), eur(1), Past{}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Capture(at(i), placed, Past{}); err != nil {
			t.Fatal(err)
		}
		a.Trim(Limits{Keep: 4, Max: 8})
		archive.take(t, a)
	}
	if a.Archived.Count < 700 || len(a.Archived.Tree.Levels) > 4 {
		t.Fatalf("%d segments in %d levels", a.Archived.Count, len(a.Archived.Tree.Levels))
	}
	for i := 0; i < orders-8; i += 97 {
		archive.reads = 0
		past := archive.past(t, a, at(i).ID, "", at(i).PlacedAt)
		if past.Hold == nil {
			t.Fatalf("order %d is lost", i)
		}
		if archive.reads > 8 {
			t.Errorf("finding order %d took %d reads of %d segments", i, archive.reads, a.Archived.Count)
		}
	}
	if head := len(encode(t, a)); head > 16<<10 {
		t.Errorf("the head takes %d bytes", head)
	}
}
