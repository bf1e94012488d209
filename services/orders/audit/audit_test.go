package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"caravan/internal/audit"
	"caravan/internal/clock/clocktest"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/internal/invoke"
	"caravan/internal/money"
	notifications "caravan/services/notifications/contract"
	"caravan/services/orders/app"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
	users "caravan/services/users/contract"
)

// fakeSystem answers what an audit asks the other services, by app and path. Without an answer the service is unavailable.
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

// office is the documents of orders in a store, without a saga: tests bring orders to the state that they need.
type office struct {
	store  *documenttest.FakeStore
	clock  *clocktest.Clock
	orders *app.Orders
	lists  app.UserOrders
	reader *feed.Reader
}

func newOffice() *office {
	o := &office{store: documenttest.NewStore(), clock: clocktest.At(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))}
	timing := feed.Timing{Bucket: 10 * time.Second, Settle: 30 * time.Second}
	o.reader = feed.NewReader(o.store, o.clock, timing)
	options := document.Options{
		Prefix: app.Prefix, Source: contract.App, Index: feed.NewIndex(o.store, o.clock, timing, "one"), Clock: o.clock, IDs: id.Random{},
	}
	o.orders = document.NewRepository[domain.Order](o.store, options)
	o.lists = app.NewUserOrders(o.store, options)
	return o
}

func (o *office) pass(d time.Duration) { o.clock.Advance(d) }

// change applies transitions to an order.
func (o *office) change(t *testing.T, orderID string, transitions ...app.Transition) *domain.Order {
	t.Helper()
	order, err := o.orders.Update(t.Context(), orderID, func(order *domain.Order) error {
		for _, apply := range transitions {
			if err := apply(order, o.clock.Now()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return order
}

// place places an order of two TEA for u1.
func (o *office) place(t *testing.T, key string, expected *money.Money) *domain.Order {
	t.Helper()
	orderID, now := app.OrderID("u1", key), o.clock.Now()
	if err := o.lists.Add(t.Context(), "u1", app.Entry{OrderID: orderID, At: now}); err != nil {
		t.Fatal(err)
	}
	return o.change(t, orderID, func(order *domain.Order, now time.Time) error {
		return order.Place(orderID, "u1", key, key, []domain.Line{{SKU: "TEA", Quantity: 2}}, expected, now, 15*time.Minute)
	})
}

func reserve(order *domain.Order, now time.Time) error {
	line := domain.Line{SKU: "TEA", Name: "TEA", Quantity: 2, UnitPrice: money.New(100, "EUR"), LineTotal: money.New(200, "EUR")}
	return order.Reserve([]domain.Line{line}, money.New(200, "EUR"), now)
}

// order places an order and confirms it.
func (o *office) order(t *testing.T, key string) *domain.Order {
	t.Helper()
	return o.change(t, o.place(t, key, nil).ID, reserve, (*domain.Order).Authorize, (*domain.Order).Pivot, (*domain.Order).Confirm)
}

// rejected places an order that is rejected at a step.
func (o *office) rejected(t *testing.T, key, step, reason string) *domain.Order {
	t.Helper()
	expected := money.New(2000, "USD")
	order := o.place(t, key, &expected)
	if step == "authorize" {
		o.change(t, order.ID, reserve)
	}
	return o.change(t, order.ID, func(order *domain.Order, now time.Time) error {
		return order.Abandon(contract.Rejected, reason, now)
	}, (*domain.Order).Compensated)
}

// refund gives a part of a confirmed order back.
func (o *office) refund(t *testing.T, orderID, key string, amount int64) {
	t.Helper()
	o.change(t, orderID, func(order *domain.Order, now time.Time) error {
		return order.RequestRefund(domain.Refund{ID: key, Amount: money.New(amount, "EUR"), Reason: "test", RequestedBy: "staff", Fingerprint: key}, now)
	})
	o.change(t, orderID, (*domain.Order).FinishRefund)
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
		notifications.App + notifications.PathEntries: func(in any) any {
			return notifications.Entries{Entries: make([]notifications.EntryState, len(in.(notifications.EntriesRequest).Events))}
		},
		users.App + feed.Path: none, payments.App + feed.Path: none, contract.App + feed.Path: none,
		products.App + feed.Path: none,
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
func (o *office) audit(t *testing.T, system fakeSystem) audit.Report {
	t.Helper()
	a := &Audit{
		Orders: o.orders, Lists: o.lists, Reader: o.reader, Invoker: system, Clock: o.clock,
		Trail: feed.Trail{Store: o.store, Source: contract.App, Coverage: feed.NewCoverage(o.reader)},
	}
	report := a.Run(t.Context(), time.Minute)
	if !report.Complete {
		t.Fatalf("report %+v", report)
	}
	return report
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
		if report.Tally(contract.App, invariant).Checked == 0 {
			t.Errorf("%s was not checked", invariant)
		}
	}
	if never := report.Tally(products.App, "of-products"); never.Service == "" || never.Checked != 0 {
		t.Errorf("an invariant that products never checked is reported as %+v", never)
	}
}

// TestAuditAcceptsRefusedOrders has an order end by each refusal there is, and by a service that has it on record.
func TestAuditAcceptsRefusedOrders(t *testing.T) {
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
			order := o.rejected(t, "one", c.step, c.outcome)
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
			if len(report.Findings) > 0 || report.Tally(contract.App, contract.InvariantReason).Checked != 2 {
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
		if report.Tally(contract.App, contract.InvariantAnswers).Violated == 0 {
			t.Errorf("without %s the audit finds %+v", path, report.Findings)
		}
		if report.Tally(contract.App, contract.InvariantHistory).Checked == 0 {
			t.Errorf("without %s the orders themselves are not checked", path)
		}
		if n := report.Tally(contract.App, contract.InvariantUnits).Checked; n != 0 {
			t.Errorf("without %s the units of all services are compared", path)
		}
	}
}

// TestAuditAcceptsAnOrderThatChangesMeanwhile refunds an order between the read of the order and that of its money.
func TestAuditAcceptsAnOrderThatChangesMeanwhile(t *testing.T) {
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
	if report.Tally(contract.App, contract.InvariantRefunded).Checked != 1 {
		t.Errorf("invariants %+v", report.Invariants)
	}
}

// TestAuditAcceptsSumsThatChangeByAClockThatIsBehind confirms orders while the audit looks, once it has read stock and
// wallets, by a clock that is behind: their times are those of orders that were at rest before the audit began.
func TestAuditAcceptsSumsThatChangeByAClockThatIsBehind(t *testing.T) {
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
			units, revenue := report.Tally(contract.App, contract.InvariantUnits), report.Tally(contract.App, contract.InvariantRevenue)
			if units.Checked != c.checked || units.Violated != c.violated || revenue.Checked != c.checked || int64(len(report.Findings)) != c.violated {
				t.Errorf("units %+v, revenue %+v, findings %+v", units, revenue, report.Findings)
			}
		})
	}
}

// TestAuditAcceptsAnOrderWithALongHistory has more events than the head of a document.
func TestAuditAcceptsAnOrderWithALongHistory(t *testing.T) {
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
		for n := range 2 * audit.MaxFindings {
			p.Holds = append(p.Holds, products.OrderHold{SKU: "TEA", OrderID: fmt.Sprint("ghost-", n), State: products.HoldCommitted, Quantity: 1})
		}
		return p
	}
	report := o.audit(t, system)
	if n := report.Tally(contract.App, contract.InvariantHeldFor).Violated; len(report.Findings) != audit.MaxFindings || n != 2*audit.MaxFindings {
		t.Errorf("%d findings of %d", len(report.Findings), n)
	}
}

// TestNoticesAreComparedWithTheFeeds has an event without a notice, one with two, one among the dead letters, one that is
// young, and a notice without an event; and events for several users, for staff, and for nobody.
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
			{ID: "payments/u1/8", Type: "mailed", Time: old, Data: json.RawMessage(`{"userId":"u1","secret":8}`)},
			{ID: "payments/u1/9", Type: "silent", Time: old, Data: json.RawMessage(`{}`)},
		}}
	}
	begun := 0
	facts := func(typ, subject string, data string) event.Event {
		return event.Event{ID: event.ID("products", subject, 1), Type: typ, Time: old, Data: json.RawMessage(data)}
	}
	system[products.App+feed.Path] = func(any) any {
		return feed.Response{Settled: fmt.Sprintf("%d.0.0", now.Unix()), End: true, Events: []event.Event{
			facts(products.EventPriceDropped, "watchers/TEA/1", `{"userIds":["u1","u2"]}`), facts(products.EventPriceDropped, "watchers/TEA/2", `{}`),
			facts(products.EventStockLow, "stock/TEA", `{}`), facts(products.EventStockLow, "stock/JAM", `{}`), facts(products.EventChanged, "TEA", `{}`),
		}}
	}
	system[notifications.App+notifications.PathEntries] = func(in any) any {
		asked := in.(notifications.EntriesRequest)
		if asked.Begin {
			begun++
			return notifications.Entries{More: !asked.More, Types: []string{"mailed", payments.EventDeposited}}
		}
		states := map[string]notifications.EntryState{
			"products/watchers/TEA/1/1u1": {Times: 1}, "products/stock/TEA/1": {Times: 1},
			"payments/u1/2": {Times: 2}, "payments/u1/3": {Letter: notifications.LetterOpen}, "payments/u1/5": {Times: 1},
		}
		var answer notifications.Entries
		for _, e := range asked.Events {
			state, known := states[e.EventID+e.UserID]
			if !known {
				state = states[e.EventID]
			}
			answer.Entries = append(answer.Entries, state)
			answer.Check(e.Type == "" || e.Data != nil && e.EventID != "payments/u1/8", "mailed", e.EventID, "%s", e.Data)
		}
		return answer
	}
	system[notifications.App+notifications.PathAudit] = func(any) any {
		return notifications.AuditPage{
			Page: audit.NewPage(), Cursors: map[string]string{"payments": fmt.Sprintf("%d.0.0", now.Unix()), "products": fmt.Sprintf("%d.0.0", now.Unix())},
			Deliveries: []notifications.Delivery{
				{EventID: "products/watchers/TEA/1/1", UserID: "u1", OccurredAt: old}, {EventID: "products/watchers/TEA/1/1", UserID: "u3", OccurredAt: old},
				{EventID: "products/stock/TEA/1", UserID: "u9", OccurredAt: old},
				{EventID: "payments/u1/5", UserID: "u1", OccurredAt: old}, {EventID: "payments/u1/5", UserID: "u2", OccurredAt: old},
				{EventID: "payments/u1/6", UserID: "u1", OccurredAt: now},
			},
			Messages: []notifications.Delivery{
				{EventID: "payments/u1/8", UserID: "u1", OccurredAt: old}, {EventID: "payments/u1/8", UserID: "u2", OccurredAt: old},
				{EventID: "products/stock/TEA/1", UserID: "u2", OccurredAt: old}, {EventID: "payments/u1/11", UserID: "u1", OccurredAt: now},
				{EventID: "nobody/u1/1", UserID: "u1", OccurredAt: old},
			},
		}
	}
	report := o.audit(t, system)
	var found []string
	for _, f := range report.Findings {
		switch f.Invariant {
		case contract.InvariantNotice, contract.InvariantFact, contract.InvariantPulled, contract.InvariantMessageFact, "mailed":
			found = append(found, f.Invariant+" "+f.Key)
		}
	}
	want := []string{
		contract.InvariantNotice + " payments/u1/1", contract.InvariantNotice + " payments/u1/2", contract.InvariantFact + " payments/u1/5",
		"mailed payments/u1/8", contract.InvariantMessageFact + " nobody/u1/1", contract.InvariantMessageFact + " payments/u1/8",
		contract.InvariantNotice + " products/watchers/TEA/1/1", contract.InvariantNotice + " products/watchers/TEA/2/1",
		contract.InvariantNotice + " products/stock/JAM/1", contract.InvariantFact + " products/watchers/TEA/1/1",
	}
	slices.Sort(want)
	if slices.Sort(found); !slices.Equal(found, want) || begun != 2 {
		t.Errorf("found %v; want %v", found, want)
	}
	for name, n := range map[string]int64{"payments.events": 6, "payments.eventsUnderWay": 1, "payments.eventsDead": 1, "notifications.deliveriesYoung": 1} {
		if report.Counts[name] != n {
			t.Errorf("%s is %d; want %d", name, report.Counts[name], n)
		}
	}
}
