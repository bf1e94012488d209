package app

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/internal/invoke"
	"caravan/internal/money"
	notifications "caravan/services/notifications/contract"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
	users "caravan/services/users/contract"
)

// fakeSystem answers what an audit asks the other services, by app and path; what it has no answer for is away.
type fakeSystem map[string]func(in any) any

func (f fakeSystem) Invoke(_ context.Context, app, path string, in, out any) error {
	answer, ok := f[app+path]
	if !ok {
		return &invoke.Error{App: app, Path: path, Status: 503}
	}
	raw, err := json.Marshal(answer(in))
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

// system has an answer of every service that fits the orders of an office.
func (o *office) system(t *testing.T) fakeSystem {
	empty := func(any) any { return audit.NewPage() }
	none := func(any) any { return feed.Response{Settled: "0.0.0", End: true} }
	return fakeSystem{
		products.App + products.PathAudit: func(any) any {
			p := products.AuditPage{Page: audit.NewPage("of-products")}
			p.Counts["committed"] = 2
			return p
		},
		payments.App + payments.PathAudit: func(any) any {
			p := payments.AuditPage{Page: audit.NewPage()}
			p.Counts["merchant:sales.EUR"] = 200
			return p
		},
		users.App + users.PathAudit:                 func(any) any { return users.AuditPage{Page: audit.NewPage(), Users: []string{"u1"}} },
		notifications.App + notifications.PathAudit: empty,
		users.App + feed.Path:                       none, payments.App + feed.Path: none, contract.App + feed.Path: none,
		products.App + products.PathHolds: func(in any) any {
			var held products.Holds
			for _, asked := range in.(products.HoldsRequest).Orders {
				held.Holds = append(held.Holds, products.OrderHold{
					SKU: "TEA", OrderID: asked.OrderID, State: products.HoldCommitted, Quantity: 2, UnitPrice: 100, Currency: "EUR",
				})
			}
			return held
		},
		payments.App + payments.PathOrders: func(in any) any {
			var moved payments.Orders
			for _, asked := range in.(payments.OrdersRequest).Orders {
				order, err := o.orders.Get(t.Context(), asked.OrderID)
				if err != nil {
					t.Error(err)
					continue
				}
				moved.Orders = append(moved.Orders, payments.OrderMoney{
					OrderID: asked.OrderID, UserID: asked.UserID, State: payments.OutcomeCaptured, Currency: "EUR",
					Authorized: 200, Captured: 200, Refunded: order.Refunded.Amount,
				})
			}
			return moved
		},
	}
}

// audit runs the audit over a system.
func (o *office) audit(t *testing.T, system fakeSystem) Report {
	t.Helper()
	a := &Audit{
		Orders: o.orders, Reader: o.operate.Reader, Invoker: system, Clock: o.clock,
		Lists: o.lists(),
		Trail: feed.Trail{Store: o.store, Source: contract.App, Coverage: feed.NewCoverage(o.operate.Reader)},
	}
	report, err := a.Run(t.Context(), time.Minute)
	if err != nil || !report.Complete {
		t.Fatalf("report %+v, %v", report, err)
	}
	return report
}

func (o *office) lists() *document.Chain[Entry] {
	return document.NewChain[Entry](o.store, "orders-of/", 50, document.Options{Clock: o.clock, IDs: id.Random{}})
}

func (r Report) tally(service, invariant string) Tally {
	i := slices.IndexFunc(r.Invariants, func(t Tally) bool { return t.Service == service && t.Invariant == invariant })
	if i < 0 {
		return Tally{}
	}
	return r.Invariants[i]
}

// TestASweptOrderIsListed has what placed an order die before it wrote the entry, and a user who never asks again.
func TestASweptOrderIsListed(t *testing.T) {
	o := newOffice()
	dying, cancel := context.WithCancel(t.Context())
	var died atomic.Bool
	stored := make(chan struct{})
	o.store.AfterPut = func(key string, _ []byte) error {
		if strings.HasPrefix(key, Prefix) && !died.Load() {
			close(stored)
		}
		return nil
	}
	o.store.BeforePut = func(key string, _ []byte) error {
		if strings.HasPrefix(key, "orders-of/") && !died.Load() {
			<-stored
			died.Store(true)
			cancel()
			<-t.Context().Done() // it never gets there
			return t.Context().Err()
		}
		return nil
	}
	if _, err := o.place.Do(dying, Placement{UserID: "u1", Key: "one", Fingerprint: "one", Lines: []domain.Line{{SKU: "TEA", Quantity: 2}}}); err == nil {
		t.Fatal("the order was accepted")
	}
	o.sweep.Lists = o.lists() // of another process
	id := OrderID("u1", "one")
	if _, _, err := o.sweep.start(t.Context(), []string{Prefix + id}); err != nil {
		t.Fatal(err)
	}
	if order := o.driven(t, id); order.Status != contract.Confirmed {
		t.Fatalf("the order is %s", order.Status)
	}
	o.pass(time.Hour)
	report := o.audit(t, o.system(t))
	if len(report.Findings) > 0 || report.tally(contract.App, contract.InvariantListed).Checked == 0 {
		t.Errorf("found %+v", report.Findings)
	}
}

func TestAuditOfASoundSystem(t *testing.T) {
	o := newOffice()
	o.order(t, "one")
	o.pass(time.Hour)
	report := o.audit(t, o.system(t))
	if len(report.Findings) > 0 {
		t.Errorf("found %+v", report.Findings)
	}
	for _, invariant := range []string{contract.InvariantHistory, contract.InvariantPaid, contract.InvariantSold, contract.InvariantUnits, contract.InvariantRevenue, feed.InvariantIndexed} {
		if report.tally(contract.App, invariant).Checked == 0 {
			t.Errorf("%s was not checked", invariant)
		}
	}
	if never := report.tally(products.App, "of-products"); never.Service == "" || never.Checked != 0 {
		t.Errorf("an invariant that products never checked is reported as %+v", never)
	}
}

// TestARefusedOrderIsNotAccused has an order end by each refusal there is, and by a service that has it on record.
func TestARefusedOrderIsNotAccused(t *testing.T) {
	for _, c := range []struct {
		step, outcome string
		kept          string // the reason that products keeps
	}{
		{"reserve", products.OutcomeOutOfStock, products.OutcomeOutOfStock},
		{"reserve", products.OutcomePriceChanged, products.OutcomePriceChanged},
		{"reserve", products.OutcomeUnknownProduct, products.OutcomeUnknownProduct},
		{"reserve", products.OutcomeCurrencyMismatch, "order"}, // that of the release
		{"authorize", payments.OutcomeInsufficientFunds, "order"},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			o := newOffice()
			o.services.answer[c.step] = c.outcome
			expected := money.New(2000, "USD")
			order, err := o.place.Do(t.Context(), Placement{
				UserID: "u1", Key: "one", Fingerprint: "one", Lines: []domain.Line{{SKU: "TEA", Quantity: 2}}, ExpectedTotal: &expected,
			})
			if err != nil {
				t.Fatal(err)
			}
			if order = o.driven(t, order.ID); order.Status != contract.Rejected || order.Reason != c.outcome {
				t.Fatalf("the order is %s: %s", order.Status, order.Reason)
			}
			o.pass(time.Hour)
			system := o.system(t)
			system[products.App+products.PathAudit] = func(any) any { return products.AuditPage{Page: audit.NewPage()} }
			system[payments.App+payments.PathAudit] = func(any) any { return payments.AuditPage{Page: audit.NewPage()} }
			system[products.App+products.PathHolds] = func(any) any {
				return products.Holds{Holds: []products.OrderHold{{SKU: "TEA", OrderID: order.ID, State: products.HoldReleased, Reason: c.kept}}}
			}
			system[payments.App+payments.PathOrders] = func(any) any {
				m := payments.OrderMoney{OrderID: order.ID, UserID: "u1", State: payments.OutcomeVoided, Reason: payments.VoidedByOrder}
				if c.step == "authorize" {
					m.Reason = payments.RefusedFunds
				}
				return payments.Orders{Orders: []payments.OrderMoney{m}}
			}
			report := o.audit(t, system)
			if len(report.Findings) > 0 || report.tally(contract.App, contract.InvariantReason).Checked != 2 {
				t.Errorf("found %+v", report.Findings)
			}
		})
	}
}

// TestAServiceThatCannotBeAskedIsAFinding takes the services away, one at a time and path by path.
func TestAServiceThatCannotBeAskedIsAFinding(t *testing.T) {
	o := newOffice()
	o.order(t, "one")
	o.pass(time.Hour)
	for path := range o.system(t) {
		system := o.system(t)
		delete(system, path)
		report := o.audit(t, system)
		if report.tally(contract.App, contract.InvariantAnswers).Violated == 0 {
			t.Errorf("without %s the audit finds %+v", path, report.Findings)
		}
		if report.tally(contract.App, contract.InvariantHistory).Checked == 0 {
			t.Errorf("without %s the orders themselves are not checked", path)
		}
		if n := report.tally(contract.App, contract.InvariantUnits).Checked; n != 0 {
			t.Errorf("without %s the units of all services are compared", path)
		}
	}
}

// TestAnOrderThatMovesIsNotAccused refunds an order between the read of the order and that of its money.
func TestAnOrderThatMovesIsNotAccused(t *testing.T) {
	o := newOffice()
	order := o.order(t, "one")
	o.pass(time.Hour)
	system := o.system(t)
	ask, refunded := system[payments.App+payments.PathOrders], false
	system[payments.App+payments.PathOrders] = func(in any) any {
		if !refunded {
			refunded = true
			o.refund(t, order.ID, "r1", 50)
		}
		return ask(in)
	}
	report := o.audit(t, system)
	for _, f := range report.Findings {
		if f.Invariant != contract.InvariantRevenue { // the fake wallet is as it was
			t.Errorf("found %+v", f)
		}
	}
	if report.tally(contract.App, contract.InvariantRefunded).Checked != 1 {
		t.Errorf("invariants %+v", report.Invariants)
	}
}

// TestSumsThatMoveByAClockThatIsBehindAreNotAccused confirms orders while the audit looks, once it has read stock and
// wallets, by a clock that is behind: their times are those of orders that were at rest before the audit began.
func TestSumsThatMoveByAClockThatIsBehindAreNotAccused(t *testing.T) {
	for _, c := range []struct {
		name              string
		moves             int   // in how many looks an order is confirmed
		stolen            int64 // units that nobody bought
		checked, violated int64
	}{
		{"nothing moves", 0, 0, 1, 0},
		{"an order moves in the first look", 1, 0, 1, 0},
		{"an order moves in each look", 2, 0, 0, 0},
		{"units are gone", 0, 1, 1, 1},
		{"units are gone and an order moves in the first look", 1, 1, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOffice()
			o.order(t, "one")
			o.pass(time.Hour)
			var mu sync.Mutex
			sold, pages := int64(1), 0
			read := func(page audit.Page, name string, of int64) audit.Page {
				mu.Lock()
				defer mu.Unlock()
				page.Counts[name] = of * sold
				if pages++; pages%2 == 0 && pages/2 <= c.moves { // both were read
					o.pass(-14 * time.Second)
					o.order(t, fmt.Sprint("moves-", pages))
					o.pass(14 * time.Second)
					sold++
				}
				return page
			}
			system := o.system(t)
			system[products.App+products.PathAudit] = func(any) any {
				page := read(audit.NewPage(), "committed", 2)
				page.Counts["committed"] += c.stolen
				return products.AuditPage{Page: page}
			}
			system[payments.App+payments.PathAudit] = func(any) any {
				return payments.AuditPage{Page: read(audit.NewPage(), "merchant:sales.EUR", 200)}
			}
			report := o.audit(t, system)
			units, revenue := report.tally(contract.App, contract.InvariantUnits), report.tally(contract.App, contract.InvariantRevenue)
			if units.Checked != c.checked || units.Violated != c.violated || revenue.Checked != c.checked || int64(len(report.Findings)) != c.violated {
				t.Errorf("units %+v, revenue %+v, findings %+v", units, revenue, report.Findings)
			}
		})
	}
}

// TestAnOrderWithALongHistoryIsNotAccused has more events than the head of a document.
func TestAnOrderWithALongHistoryIsNotAccused(t *testing.T) {
	o := newOffice()
	order := o.order(t, "one")
	for n := range 20 {
		o.refund(t, order.ID, fmt.Sprint(n), 5)
	}
	if order, _ = o.orders.Get(t.Context(), order.ID); order.TimelineSegments == 0 {
		t.Fatal("the history fits into the head")
	}
	o.pass(time.Hour)
	for _, f := range o.audit(t, o.system(t)).Findings {
		if f.Invariant != contract.InvariantRevenue {
			t.Errorf("found %+v", f)
		}
	}
}

// TestFindingsAreBounded has more wrong orders than a report holds.
func TestFindingsAreBounded(t *testing.T) {
	o := newOffice()
	system := o.system(t)
	system[products.App+products.PathAudit] = func(any) any {
		p := products.AuditPage{Page: audit.NewPage()}
		for n := range 2 * maxFindings {
			p.Holds = append(p.Holds, products.OrderHold{SKU: "TEA", OrderID: fmt.Sprint("ghost-", n), State: products.HoldCommitted, Quantity: 1})
		}
		return p
	}
	report := o.audit(t, system)
	if n := report.tally(contract.App, contract.InvariantHeldFor).Violated; len(report.Findings) != maxFindings || n != 2*maxFindings {
		t.Errorf("%d findings of %d", len(report.Findings), n)
	}
}

// TestNoticesAreComparedWithTheFeeds has an event without a notice, one with two, one among the dead letters, one that is
// young, and a notice without an event.
func TestNoticesAreComparedWithTheFeeds(t *testing.T) {
	o := newOffice()
	now := o.clock.Now()
	deposited := func(n int64, at time.Time) event.Event {
		return event.Event{ID: event.ID("payments", "u1", n), Type: payments.EventDeposited, Time: at, Data: json.RawMessage(`{"userId":"u1"}`)}
	}
	old := now.Add(-time.Hour)
	system := o.system(t)
	system[payments.App+feed.Path] = func(any) any {
		return feed.Response{Settled: fmt.Sprintf("%d.0.0", now.Unix()), End: true, Events: []event.Event{
			deposited(1, old), deposited(2, old), deposited(3, old), deposited(4, now), deposited(5, old), deposited(5, old),
		}}
	}
	system[notifications.App+notifications.PathEntries] = func(in any) any {
		states := map[string]notifications.EntryState{
			"payments/u1/2": {Times: 2}, "payments/u1/3": {Letter: notifications.LetterOpen}, "payments/u1/5": {Times: 1},
		}
		var answer notifications.Entries
		for _, e := range in.(notifications.EntriesRequest).Events {
			answer.Entries = append(answer.Entries, states[e.EventID])
		}
		return answer
	}
	system[notifications.App+notifications.PathAudit] = func(any) any {
		return notifications.AuditPage{
			Page: audit.NewPage(), Cursors: map[string]string{"payments": fmt.Sprintf("%d.0.0", now.Unix())},
			Deliveries: []notifications.Delivery{
				{EventID: "payments/u1/5", UserID: "u1", OccurredAt: old}, {EventID: "payments/u1/5", UserID: "u2", OccurredAt: old},
				{EventID: "payments/u1/6", UserID: "u1", OccurredAt: now},
			},
		}
	}
	report := o.audit(t, system)
	var found []string
	for _, f := range report.Findings {
		if f.Invariant == contract.InvariantNotice || f.Invariant == contract.InvariantFact || f.Invariant == contract.InvariantPulled {
			found = append(found, f.Invariant+" "+f.Key)
		}
	}
	want := []string{
		contract.InvariantNotice + " payments/u1/1", contract.InvariantNotice + " payments/u1/2", contract.InvariantFact + " payments/u1/5",
	}
	if slices.Sort(found); !slices.Equal(found, want) {
		t.Errorf("found %v; want %v", found, want)
	}
	for name, n := range map[string]int64{"payments.events": 5, "payments.eventsUnderWay": 1, "payments.eventsDead": 1, "notifications.deliveriesYoung": 1} {
		if report.Counts[name] != n {
			t.Errorf("%s is %d; want %d", name, report.Counts[name], n)
		}
	}
}

// refund gives a part of a confirmed order back.
func (o *office) refund(t *testing.T, orderID, key string, amount int64) {
	t.Helper()
	_, err := RefundOrder{Orders: o.orders, Driver: o.driver, Clock: o.clock, IDs: id.Random{}}.Do(t.Context(), RefundRequest{
		OrderID: orderID, Amount: money.New(amount, "EUR"), Reason: "test", By: "staff", Key: key, Fingerprint: key,
	})
	if err != nil {
		t.Fatal(err)
	}
	if order := o.driven(t, orderID); order.Status != contract.Confirmed && order.Status != contract.Refunded {
		t.Fatalf("the order is %s", order.Status)
	}
}
