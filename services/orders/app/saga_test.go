package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/internal/clock"
	"caravan/internal/clock/clocktest"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/id"
	"caravan/internal/invoke"
	"caravan/internal/money"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
)

// fakeServices are products and payments in one: they keep what an order holds,
// and answer each command as the test's script says.
type fakeServices struct {
	mu     sync.Mutex
	calls  []string
	stock  string // "", reserved, committed, released
	money  string // "", authorized, captured, voided
	answer map[string]any
	effect map[string]bool // the command takes effect although its answer is an error
}

var errAway = &invoke.Error{App: "participant", Path: "/x", Status: 503}

// call records a command and returns the scripted outcome or error, if any.
func (f *fakeServices) call(name string) (outcome string, err error, act bool) {
	f.calls = append(f.calls, name)
	switch a := f.answer[name].(type) {
	case error:
		return "", a, f.effect[name]
	case string:
		return a, nil, false
	}
	return "", nil, true
}

func do[R any](f *fakeServices, name string, act func(), result func(outcome string) R) (R, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	outcome, err, effective := f.call(name)
	if effective {
		act()
	}
	return result(outcome), err
}

func eur(n int64) money.Money { return money.Money{Amount: n, Currency: "EUR"} }

func (f *fakeServices) Reserve(_ context.Context, c products.Reserve) (products.Reserved, error) {
	return do(f, "reserve", func() {
		if f.stock == "" {
			f.stock = "reserved"
		}
	}, func(outcome string) products.Reserved {
		if outcome == "" {
			outcome = products.OutcomeReserved
			if f.stock == "released" {
				outcome = products.OutcomeReleased
			}
		}
		r := products.Reserved{Outcome: outcome, Total: eur(0)}
		for _, l := range c.Lines {
			r.Lines = append(r.Lines, products.PricedLine{SKU: l.SKU, Name: l.SKU, Quantity: l.Quantity, UnitPrice: eur(100), LineTotal: eur(100 * l.Quantity)})
			r.Total.Amount += 100 * l.Quantity
		}
		return r
	})
}

func (f *fakeServices) Commit(context.Context, products.Commit) (products.Committed, error) {
	return do(f, "commit", func() { f.stock = "committed" }, func(o string) products.Committed {
		return products.Committed{Outcome: or(o, products.OutcomeCommitted)}
	})
}

func (f *fakeServices) Release(context.Context, products.Release) (products.Released, error) {
	return do(f, "release", func() { f.stock = "released" }, func(o string) products.Released {
		return products.Released{Outcome: or(o, products.OutcomeReleased)}
	})
}

func (f *fakeServices) Authorize(context.Context, payments.Authorize) (payments.Authorized, error) {
	return do(f, "authorize", func() { f.money = "authorized" }, func(o string) payments.Authorized {
		return payments.Authorized{Outcome: or(o, payments.OutcomeAuthorized)}
	})
}

func (f *fakeServices) Capture(context.Context, payments.Capture) (payments.Captured, error) {
	return do(f, "capture", func() { f.money = "captured" }, func(o string) payments.Captured {
		return payments.Captured{Outcome: or(o, payments.OutcomeCaptured)}
	})
}

func (f *fakeServices) Void(context.Context, payments.Void) (payments.Voided, error) {
	return do(f, "void", func() { f.money = "voided" }, func(o string) payments.Voided {
		return payments.Voided{Outcome: or(o, payments.OutcomeVoided)}
	})
}

func (f *fakeServices) Refund(context.Context, payments.Refund) (payments.Refunded, error) {
	return do(f, "refund", func() {}, func(o string) payments.Refunded {
		return payments.Refunded{Outcome: or(o, payments.OutcomeRefunded)}
	})
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// shop is one orders service over fakes.
type shop struct {
	store    *documenttest.FakeStore
	clock    *clocktest.Clock
	services *fakeServices
	orders   *Orders
	driver   *Driver
	place    PlaceOrder
	counts   counts
}

func newShop() *shop {
	s := &shop{
		store: documenttest.NewStore(), clock: clocktest.At(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)),
		services: &fakeServices{answer: map[string]any{}, effect: map[string]bool{}},
	}
	options := document.Options{Prefix: Prefix, Source: contract.App, Clock: s.clock, IDs: id.Random{}}
	s.orders = document.NewRepository[domain.Order](s.store, options)
	saga := Participants{Products: s.services, Payments: s.services}.Checkout()
	s.driver = NewDriver(s.orders, saga, s.clock, slog.New(slog.DiscardHandler), NewWatch(), Pace{Attempt: 12 * time.Second, Backoff: Backoff{First: time.Second, Max: 10 * time.Second, Jitter: func() float64 { return 0.5 }}}, NewAlarm(5*time.Minute, s.clock, slog.New(slog.DiscardHandler)), &s.counts)
	s.place = PlaceOrder{
		Orders: s.orders, Lists: NewUserOrders(s.store, options), Driver: s.driver, Clock: s.clock, Deadline: 15 * time.Minute,
	}
	return s
}

func (s *shop) placeOne(t *testing.T) *domain.Order {
	t.Helper()
	o, err := s.place.Do(t.Context(), Placement{
		UserID: "u1", Key: "k1", Fingerprint: "f1",
		Lines: []domain.Line{{SKU: "TEA", Quantity: 2}, {SKU: "CUP", Quantity: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// drive lets the driver work on the order until it ends or waits.
func (s *shop) drive(t *testing.T, id string) *domain.Order {
	t.Helper()
	s.driver.drive(t.Context(), start{id: id})
	o, err := s.orders.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func types(o *domain.Order) string {
	var names []string
	for _, e := range o.Timeline {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(e.Type, "orders."), ".v1"))
	}
	return strings.Join(names, " ")
}

// TestSaga reads as: given an order, when a step answers so, expect this end.
func TestSaga(t *testing.T) {
	for _, c := range []struct {
		name     string
		given    map[string]any
		status   contract.Status
		reason   string
		timeline string
		calls    string
		stock    string
		money    string
	}{
		{
			name: "everything answers", status: contract.Confirmed,
			timeline: "placed reserved authorized capturing confirmed", stock: "committed", money: "captured",
		},
		{
			name: "out of stock", given: map[string]any{"reserve": products.OutcomeOutOfStock},
			status: contract.Rejected, reason: "out_of_stock", timeline: "placed cancelling rejected",
			calls: "reserve void release", stock: "released", money: "voided",
		},
		{
			name: "unknown product", given: map[string]any{"reserve": products.OutcomeUnknownProduct},
			status: contract.Rejected, reason: "unknown_product", timeline: "placed cancelling rejected",
			calls: "reserve void release", stock: "released", money: "voided",
		},
		{
			name: "expected total in another currency", given: map[string]any{"reserve": products.OutcomeCurrencyMismatch},
			status: contract.Rejected, reason: "currency_mismatch", timeline: "placed cancelling rejected",
			calls: "reserve void release", stock: "released", money: "voided",
		},
		{
			name: "price changed", given: map[string]any{"reserve": products.OutcomePriceChanged},
			status: contract.Rejected, reason: "price_changed", timeline: "placed cancelling rejected",
			calls: "reserve void release", stock: "released", money: "voided",
		},
		{
			name: "insufficient funds", given: map[string]any{"authorize": payments.OutcomeInsufficientFunds},
			status: contract.Rejected, reason: "insufficient_funds", timeline: "placed reserved cancelling rejected",
			calls: "reserve authorize void release", stock: "released", money: "voided",
		},
		{
			name: "products away at reserve", given: map[string]any{"reserve": errAway},
			status: contract.Placed, timeline: "placed", calls: "reserve",
		},
		{
			name: "payments away at authorize", given: map[string]any{"authorize": errAway},
			status: contract.Reserved, timeline: "placed reserved", calls: "reserve authorize", stock: "reserved",
		},
		{
			name: "payments away at capture", given: map[string]any{"capture": errAway},
			status: contract.Capturing, timeline: "placed reserved authorized capturing", stock: "committed", money: "authorized",
		},
		{
			name: "products away at commit", given: map[string]any{"commit": errAway},
			status: contract.Capturing, timeline: "placed reserved authorized capturing", stock: "reserved", money: "captured",
		},
		{
			name:   "products away while undoing",
			given:  map[string]any{"authorize": payments.OutcomeInsufficientFunds, "release": errAway},
			status: contract.Cancelling, reason: "insufficient_funds", timeline: "placed reserved cancelling",
			calls: "reserve authorize void release", stock: "reserved", money: "voided",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShop()
			order := s.placeOne(t)
			for step, answer := range c.given {
				s.services.answer[step] = answer
			}
			o := s.drive(t, order.ID)
			if o.Status != c.status || o.Reason != c.reason || types(o) != c.timeline {
				t.Errorf("order is %s (%q) after %s", o.Status, o.Reason, types(o))
			}
			if calls := strings.Join(s.services.calls, " "); c.calls != "" && calls != c.calls {
				t.Errorf("called %s; want %s", calls, c.calls)
			}
			if s.services.stock != c.stock || s.services.money != c.money {
				t.Errorf("stock %q, money %q; want %q, %q", s.services.stock, s.services.money, c.stock, c.money)
			}
			if !o.Status.Terminal() && (o.Waiting == nil || o.Waiting.Attempts != 1) {
				t.Errorf("an unfinished order must say that it waits: %+v", o.Waiting)
			}
		})
	}
}

// An order that names its total is authorized while its stock is reserved. What comes of both is the same as one after the
// other.
func TestReserveAndAuthorizeAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		total  int64
		given  map[string]any
		status contract.Status
		reason string
		calls  string // sorted, as two of them are made at once
		stock  string
		money  string
	}{
		"both answer":        {300, nil, contract.Confirmed, "", "authorize capture commit reserve", "committed", "captured"},
		"out of stock":       {300, map[string]any{"reserve": products.OutcomeOutOfStock}, contract.Rejected, "out_of_stock", "authorize release reserve void", "released", "voided"},
		"insufficient funds": {300, map[string]any{"authorize": payments.OutcomeInsufficientFunds}, contract.Rejected, "insufficient_funds", "authorize authorize release reserve void", "released", "voided"},
		"both refuse": {300, map[string]any{"reserve": products.OutcomePriceChanged, "authorize": payments.OutcomeInsufficientFunds},
			contract.Rejected, "price_changed", "authorize release reserve void", "released", "voided"},
		"payments away": {300, map[string]any{"authorize": errAway}, contract.Reserved, "", "authorize authorize reserve", "reserved", ""},
		"products away": {300, map[string]any{"reserve": errAway}, contract.Placed, "", "authorize reserve", "", "authorized"},
		// It cannot be: products refuses another total. But if it were, the hold of the other amount would not count, and payments is asked again.
		"reserved at another total": {299, map[string]any{"authorize": payments.OutcomeAuthorized}, contract.Confirmed, "", "authorize authorize capture commit reserve", "committed", "captured"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop()
			total := eur(c.total)
			order, err := s.place.Do(t.Context(), Placement{UserID: "u1", Key: "k1", Fingerprint: "f1", Lines: []domain.Line{{SKU: "TEA", Quantity: 3}}, ExpectedTotal: &total})
			if err != nil {
				t.Fatal(err)
			}
			s.services.answer = c.given
			o := s.drive(t, order.ID)
			slices.Sort(s.services.calls)
			if calls := strings.Join(s.services.calls, " "); o.Status != c.status || o.Reason != c.reason || calls != c.calls {
				t.Errorf("order is %s (%q) after %s, which called %s", o.Status, o.Reason, types(o), calls)
			}
			if s.services.stock != c.stock || s.services.money != c.money {
				t.Errorf("stock %q, money %q", s.services.stock, s.services.money)
			}
			s.services.answer = nil
			s.clock.Advance(time.Minute)
			if o := s.drive(t, order.ID); !o.Status.Terminal() {
				t.Errorf("order is %s, waiting %+v", o.Status, o.Waiting)
			}
		})
	}
}

// TestEveryStepRecovers has each step fail once, before and after its effect,
// and expects the order to end as if nothing had happened.
func TestEveryStepRecovers(t *testing.T) {
	for _, step := range []string{"reserve", "authorize", "capture", "commit"} {
		for _, effect := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s fails, effect %v", step, effect), func(t *testing.T) {
				s := newShop()
				order := s.placeOne(t)
				s.services.answer[step], s.services.effect[step] = errAway, effect
				if o := s.drive(t, order.ID); o.Status.Terminal() || o.Waiting.Step == "" {
					t.Fatalf("order is %s, waiting %+v", o.Status, o.Waiting)
				}
				delete(s.services.answer, step)
				if o := s.drive(t, order.ID); o.Waiting == nil {
					t.Fatal("the order was driven before its next attempt was due")
				}
				s.clock.Advance(time.Minute)
				o := s.drive(t, order.ID)
				if o.Status != contract.Confirmed || s.services.stock != "committed" || s.services.money != "captured" {
					t.Fatalf("order is %s, stock %s, money %s", o.Status, s.services.stock, s.services.money)
				}
			})
		}
	}
}

func TestAnOrderThatNobodyAnswersIsCancelledAtItsDeadline(t *testing.T) {
	s := newShop()
	order := s.placeOne(t)
	s.services.answer["authorize"] = errAway
	s.drive(t, order.ID)
	s.clock.Advance(16 * time.Minute)
	o := s.drive(t, order.ID)
	if o.Status != contract.Cancelled || o.Reason != domain.ReasonDeadline || s.services.stock != "released" || s.services.money != "voided" {
		t.Fatalf("order is %s (%s), stock %s, money %s", o.Status, o.Reason, s.services.stock, s.services.money)
	}
}

func TestPastThePivotADeadlineMeansNothing(t *testing.T) {
	s := newShop()
	order := s.placeOne(t)
	s.services.answer["capture"] = errAway
	s.drive(t, order.ID)
	s.clock.Advance(24 * time.Hour)
	if o := s.drive(t, order.ID); o.Status != contract.Capturing || o.Waiting.Attempts != 2 {
		t.Fatalf("order is %s, waiting %+v", o.Status, o.Waiting)
	}
	delete(s.services.answer, "capture")
	s.clock.Advance(time.Hour)
	if o := s.drive(t, order.ID); o.Status != contract.Confirmed {
		t.Fatalf("order is %s", o.Status)
	}
}

// TestCancelRaces cancels an order while each step's answer is on its way.
func TestCancelRaces(t *testing.T) {
	for _, step := range []string{"reserve", "authorize", "capture"} {
		t.Run("cancel during "+step, func(t *testing.T) {
			s := newShop()
			order := s.placeOne(t)
			cancel := CancelOrder{Orders: s.orders, Driver: s.driver, Clock: s.clock}
			var cancelErr error
			s.driver.saga = interrupt(s.driver.saga, step, func() {
				_, cancelErr = cancel.Do(t.Context(), Viewer{UserID: "u1"}, order.ID)
			})
			o := s.drive(t, order.ID)
			if step == "capture" {
				if cancelErr == nil || o.Status != contract.Confirmed {
					t.Fatalf("cancel past the pivot: %v, order is %s", cancelErr, o.Status)
				}
				return
			}
			if cancelErr != nil || o.Status != contract.Cancelled || s.services.stock != "released" || s.services.money != "voided" {
				t.Fatalf("cancel: %v; order is %s, stock %s, money %s", cancelErr, o.Status, s.services.stock, s.services.money)
			}
		})
	}
}

// interrupt runs f once, between a step's effect and its answer.
func interrupt(saga Saga, name string, f func()) Saga {
	var once sync.Once
	out := append(Saga(nil), saga...)
	for i, step := range out {
		if step.Name == name {
			do := step.Do
			out[i].Do = func(ctx context.Context, o domain.Order) (Transition, error) {
				t, err := do(ctx, o)
				once.Do(f)
				return t, err
			}
		}
	}
	return out
}

func TestTwentyPlacementsUnderOneKeyAreOneOrder(t *testing.T) {
	s := newShop()
	var all sync.WaitGroup
	ids := make([]string, 20)
	for i := range ids {
		all.Go(func() {
			o, err := s.place.Do(t.Context(), Placement{UserID: "u1", Key: "same", Fingerprint: "f", Lines: []domain.Line{{SKU: "TEA", Quantity: 1}}})
			if err == nil {
				ids[i] = o.ID
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Fatalf("ids are %v", ids)
		}
	}
	if o, err := s.orders.Get(t.Context(), ids[0]); err != nil || o.Sequence != 1 {
		t.Fatalf("order %+v, %v", o, err)
	}
	_, err := s.place.Do(t.Context(), Placement{UserID: "u1", Key: "same", Fingerprint: "other", Lines: []domain.Line{{SKU: "CUP", Quantity: 1}}})
	if !errors.Is(err, domain.ErrFingerprint) {
		t.Fatalf("another request under the key: %v", err)
	}
	if other, err := s.place.Do(t.Context(), Placement{UserID: "u2", Key: "same", Fingerprint: "f"}); err != nil || other.ID == ids[0] {
		t.Fatalf("another user's key is their own: %v", err)
	}
}

func TestRefundsInPartsAndWhole(t *testing.T) {
	s := newShop()
	order := s.drive(t, s.placeOne(t).ID)
	refunds := RefundOrder{Orders: s.orders, Driver: s.driver, Clock: s.clock, IDs: id.Random{}}
	ask := func(key string, amount int64) error {
		r := RefundRequest{OrderID: order.ID, Reason: "broken", By: "staff", Key: key, Fingerprint: fmt.Sprint(amount)}
		if amount > 0 {
			r.Amount = eur(amount)
		}
		_, err := refunds.Do(t.Context(), r)
		return err
	}
	if err := ask("a", 100); err != nil {
		t.Fatal(err)
	}
	if err := ask("b", 100); err == nil || !strings.Contains(err.Error(), "refund") {
		t.Errorf("a second refund while one is under way: %v", err)
	}
	if err := ask("a", 100); err != nil {
		t.Errorf("a repeat: %v", err)
	}
	if err := ask("a", 50); err == nil {
		t.Error("a repeat with another amount was taken")
	}
	o := s.drive(t, order.ID)
	if o.Status != contract.Confirmed || o.Refunded != eur(100) {
		t.Fatalf("order is %s, refunded %s", o.Status, o.Refunded)
	}
	if err := ask("c", 201); err == nil {
		t.Error("more than what is left was taken")
	}
	if err := ask("d", 0); err != nil {
		t.Fatal(err)
	}
	o = s.drive(t, order.ID)
	if o.Status != contract.Refunded || o.Refunded != eur(300) {
		t.Fatalf("order is %s, refunded %s", o.Status, o.Refunded)
	}
	if got := types(o); got != "placed reserved authorized capturing confirmed refunding refunded refunding refunded" {
		t.Errorf("timeline is %s", got)
	}
}

// TestTwoDriversAgree lets two replicas drive one order at the same time.
func TestTwoDriversAgree(t *testing.T) {
	for range 50 {
		s := newShop()
		order := s.placeOne(t)
		other := NewDriver(document.NewRepository[domain.Order](s.store, document.Options{Prefix: Prefix, Source: contract.App, Clock: clock.System{}, IDs: id.Random{}}),
			s.driver.saga, s.clock, slog.New(slog.DiscardHandler), NewWatch(), s.driver.pace, s.driver.alarm, s.driver.meter)
		var all sync.WaitGroup
		for _, d := range []*Driver{s.driver, other} {
			all.Go(func() { d.drive(t.Context(), start{id: order.ID}) })
		}
		all.Wait()
		o, err := s.orders.Get(t.Context(), order.ID)
		if err != nil || types(o) != "placed reserved authorized capturing confirmed" {
			t.Fatalf("%v: %s", err, types(o))
		}
	}
}

// A repeat that comes after many other orders of its user listed the order a second time, as only the
// newest entries were looked at (found by the flash sale and the storm of 10,000 orders).
func TestARepeatIsListedOnce(t *testing.T) {
	s := newShop()
	place := func(key string) string {
		t.Helper()
		o, err := s.place.Do(t.Context(), Placement{UserID: "u1", Key: key, Fingerprint: "f", Lines: []domain.Line{{SKU: "TEA", Quantity: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		s.clock.Sleep(t.Context(), time.Second)
		return o.ID
	}
	const others = 250
	first := place("first")
	for n := range others {
		place(fmt.Sprint("other ", n))
	}
	place("first")
	place("first")
	listed := make(map[string]int)
	for cursor := ""; ; {
		entries, next, err := s.place.Lists.Page(t.Context(), "u1", cursor, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			listed[e.OrderID]++
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	if listed[first] != 1 || len(listed) != others+1 {
		t.Errorf("the repeated order is listed %d times among %d orders; want once among %d", listed[first], len(listed), others+1)
	}
}

// An attempt to place an order that fails leaves an entry; the order that the same key makes after many others is listed
// once nevertheless, and the audit finds nothing wrong.
func TestAFailedAttemptIsNotListed(t *testing.T) {
	for _, others := range []int{0, 250} {
		s := newShop()
		place := func(key string) (*domain.Order, error) {
			s.clock.Sleep(t.Context(), time.Second)
			return s.place.Do(t.Context(), Placement{UserID: "u1", Key: key, Fingerprint: "f", Lines: []domain.Line{{SKU: "TEA", Quantity: 1}}})
		}
		attempt := Entry{OrderID: OrderID("u1", "k"), At: s.clock.Now()} // all that is left of one that failed
		if err := s.place.Lists.Add(t.Context(), "u1", attempt); err != nil {
			t.Fatal(err)
		}
		for n := range others {
			if _, err := place(fmt.Sprint("other ", n)); err != nil {
				t.Fatal(err)
			}
		}
		order, err := place("k")
		if err != nil {
			t.Fatal(err)
		}
		times, list := 0, ListOrders{Orders: s.orders, Lists: s.place.Lists}
		for cursor := ""; ; {
			orders, next, err := list.Do(t.Context(), "u1", cursor, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range orders {
				if o.ID == order.ID {
					times++
				}
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		if times != 1 {
			t.Errorf("after %d others the order is listed %d times", others, times)
		}
	}
}

// An order whose entry got lost between two writes is listed by the repeat.
func TestARepeatListsWhatWasNot(t *testing.T) {
	s := newShop()
	ctx, cancel := context.WithCancel(t.Context())
	placed := make(chan struct{})
	written := sync.OnceFunc(func() { close(placed) })
	var repaired atomic.Bool
	s.store.AfterPut(func(key string, _ []byte) error {
		if strings.HasPrefix(key, Prefix) {
			written()
		}
		return nil
	})
	s.store.BeforePut(func(key string, _ []byte) error {
		if strings.HasPrefix(key, "orders-of/") && !repaired.Load() {
			<-placed
			cancel()
			return documenttest.ErrInjected
		}
		return nil
	})
	if _, err := s.place.Do(ctx, Placement{UserID: "u1", Key: "k1", Fingerprint: "f1", Lines: []domain.Line{{SKU: "TEA", Quantity: 2}, {SKU: "CUP", Quantity: 1}}}); err == nil {
		t.Fatal("an order that is not listed was accepted")
	}
	repaired.Store(true)
	o := s.placeOne(t)
	entries, _, err := s.place.Lists.Page(t.Context(), "u1", "", 10)
	if err != nil || len(entries) != 1 || entries[0].OrderID != o.ID {
		t.Errorf("the list is %v, %v; want the order", entries, err)
	}
}
