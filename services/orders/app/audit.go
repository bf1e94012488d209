package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/internal/clock"
	"caravan/internal/invoke"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
)

// Audit checks the invariants of the whole system: each service's own, and that
// orders, stock, money and notices agree about every order.
type Audit struct {
	Operate Operate
	Invoker invoke.Invoker
	Clock   clock.Clock

	mu      sync.Mutex
	running *auditRun
}

// Finding is one violated invariant.
type Finding struct {
	Service   string `json:"service"`
	Invariant string `json:"invariant"`
	Key       string `json:"key"`
	Detail    string `json:"detail"`
}

// Report is the result of an audit, or what is known of one under way.
type Report struct {
	Findings  []Finding        `json:"findings"`
	Counts    map[string]int64 `json:"counts"`
	Complete  bool             `json:"complete"`
	StartedAt time.Time        `json:"startedAt"`
}

type auditRun struct {
	started time.Time
	done    chan struct{}
	report  Report
	err     error
}

// auditTimeout bounds one whole audit.
const auditTimeout = 5 * time.Minute

// Run joins the audit under way or starts one, and waits for it as long as ctx
// allows; a report that is not complete says to ask again. An audit that
// finishes goes to all who wait, and the next request starts a new one.
func (a *Audit) Run(ctx context.Context, patience time.Duration) (Report, error) {
	a.mu.Lock()
	run := a.running
	if run == nil {
		run = &auditRun{started: a.Clock.Now(), done: make(chan struct{})}
		a.running = run
		go a.work(context.WithoutCancel(ctx), run)
	}
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-run.done:
		return run.report, run.err
	case <-ctx.Done():
		return Report{Findings: []Finding{}, Counts: map[string]int64{}, StartedAt: run.started}, nil
	}
}

// work performs a run; it owns itself and ends by auditTimeout.
func (a *Audit) work(ctx context.Context, run *auditRun) {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	run.report, run.err = a.audit(ctx, run.started)
	a.mu.Lock()
	a.running = nil
	a.mu.Unlock()
	close(run.done)
}

func (a *Audit) audit(ctx context.Context, started time.Time) (Report, error) {
	e := evidence{started: started, counts: make(map[string]int64)}
	// Orders are read last: what they have led to elsewhere was there before.
	all, gctx := errgroup.WithContext(ctx)
	all.Go(func() error { return a.products(gctx, &e) })
	all.Go(func() error { return a.payments(gctx, &e) })
	all.Go(func() error { return a.notifications(gctx, &e) })
	all.Go(func() error { return a.users(gctx, &e) })
	if err := all.Wait(); err != nil {
		return Report{}, err
	}
	if err := a.orders(ctx, &e); err != nil {
		return Report{}, err
	}
	e.compare()
	return Report{Findings: append([]Finding{}, e.findings...), Counts: e.counts, Complete: true, StartedAt: started}, nil
}

// servicePage is one page of a service's own audit.
type servicePage struct {
	Findings []struct {
		Invariant string `json:"invariant"`
		Key       string `json:"key"`
		Detail    string `json:"detail"`
	} `json:"findings"`
	Counts     map[string]int64      `json:"counts"`
	Holds      []products.OrderHold  `json:"holds"`
	Orders     []payments.OrderMoney `json:"orders"`
	Deliveries []delivery            `json:"deliveries"`
	Next       string                `json:"next"`
}

// delivery is an inbox entry that notifications made of an event.
type delivery struct {
	EventID string `json:"eventId"`
	UserID  string `json:"userId"`
}

// pages walks a service's audit and hands over each page.
func (a *Audit) pages(ctx context.Context, e *evidence, app string, take func(servicePage)) error {
	cursor := ""
	for {
		var page servicePage
		in := struct {
			Cursor string `json:"cursor,omitempty"`
		}{cursor}
		if err := a.Invoker.Invoke(ctx, app, "/internal/audit", in, &page); err != nil {
			return fmt.Errorf("auditing %s: %w", app, err)
		}
		e.mu.Lock()
		for _, f := range page.Findings {
			e.add(app, f.Invariant, f.Key, f.Detail)
		}
		for name, n := range page.Counts {
			e.counts[app+"."+name] += n
		}
		take(page)
		e.mu.Unlock()
		if page.Next == "" {
			return nil
		}
		cursor = page.Next
	}
}

func (a *Audit) products(ctx context.Context, e *evidence) error {
	e.holds = make(map[string]map[string]products.OrderHold)
	return a.pages(ctx, e, products.App, func(p servicePage) {
		for _, h := range p.Holds {
			if e.holds[h.OrderID] == nil {
				e.holds[h.OrderID] = make(map[string]products.OrderHold)
			}
			e.holds[h.OrderID][h.SKU] = h
		}
	})
}

func (a *Audit) payments(ctx context.Context, e *evidence) error {
	e.money = make(map[string]payments.OrderMoney)
	return a.pages(ctx, e, payments.App, func(p servicePage) {
		for _, m := range p.Orders {
			e.money[m.OrderID] = m
		}
	})
}

func (a *Audit) notifications(ctx context.Context, e *evidence) error {
	e.entries = make(map[string]int)
	return a.pages(ctx, e, "notifications", func(p servicePage) {
		for _, d := range p.Deliveries {
			e.entries[d.EventID]++
		}
	})
}

func (a *Audit) users(ctx context.Context, e *evidence) error {
	return a.pages(ctx, e, "users", func(servicePage) {})
}

// orders collects every order of the feed.
func (a *Audit) orders(ctx context.Context, e *evidence) error {
	e.orders = make(map[string]*domain.Order)
	for cursor := ""; ; {
		found, next, err := a.Operate.ByStatus(ctx, "", cursor, 500)
		if err != nil {
			return fmt.Errorf("auditing orders: %w", err)
		}
		for _, o := range found {
			e.orders[o.ID] = o
			e.counts["orders."+string(o.Status)]++
		}
		if next == "" {
			return nil
		}
		cursor = next
	}
}

// evidence is what an audit has collected.
type evidence struct {
	started time.Time
	mu      sync.Mutex

	findings []Finding
	counts   map[string]int64
	orders   map[string]*domain.Order
	holds    map[string]map[string]products.OrderHold
	money    map[string]payments.OrderMoney
	entries  map[string]int
}

func (e *evidence) add(service, invariant, key, detail string) {
	e.findings = append(e.findings, Finding{Service: service, Invariant: invariant, Key: key, Detail: detail})
}

func (e *evidence) addf(invariant, key, format string, args ...any) {
	e.add(contract.App, invariant, key, fmt.Sprintf(format, args...))
}

// patience is how long an order may stay without an end, and a notice may take,
// before the audit calls it lost.
const patience = 2 * time.Minute

// compare checks each order against what the other services hold for it.
func (e *evidence) compare() {
	for id, o := range e.orders {
		e.history(id, o)
		if !o.Status.Terminal() {
			e.counts["orders.inFlight"]++
			if waited := e.started.Sub(o.UpdatedAt); waited > patience && o.Waiting == nil {
				e.addf("every order comes to an end", id, "is %s since %s", o.Status, o.UpdatedAt.Format(time.RFC3339))
			}
			continue
		}
		if o.UpdatedAt.After(e.started) {
			continue // ended while the others were being read
		}
		e.stock(id, o)
		e.funds(id, o)
		e.notices(id, o)
	}
	for id, held := range e.holds {
		if _, ok := e.orders[id]; !ok {
			for sku, h := range held {
				if h.State != products.HoldReleased {
					e.addf("stock is held for orders that exist", id, "%d of %s %s for an unknown order", h.Quantity, sku, h.State)
				}
			}
		}
	}
	for id, m := range e.money {
		if _, ok := e.orders[id]; !ok && m.State != payments.OutcomeVoided {
			e.addf("money moves for orders that exist", id, "%d %s for an unknown order", m.Authorized, m.State)
		}
	}
}

// fulfilled reports whether an order got what it asked for.
func fulfilled(s contract.Status) bool { return s == contract.Confirmed || s == contract.Refunded }

func (e *evidence) stock(id string, o *domain.Order) {
	for _, l := range o.Lines {
		h, ok := e.holds[id][l.SKU]
		switch {
		case fulfilled(o.Status) && (!ok || h.State != products.HoldCommitted || h.Quantity != l.Quantity):
			e.addf("a confirmed order's units have left the stock once", id, "%d of %s ordered, %d %s", l.Quantity, l.SKU, h.Quantity, stateOr(h.State))
		case !fulfilled(o.Status) && ok && h.State != products.HoldReleased:
			e.addf("an order that failed holds no stock", id, "%d of %s still %s", h.Quantity, l.SKU, h.State)
		}
	}
}

func (e *evidence) funds(id string, o *domain.Order) {
	m, ok := e.money[id]
	switch {
	case fulfilled(o.Status) && (!ok || m.State != payments.OutcomeCaptured || m.Captured != o.Total.Amount || m.Currency != o.Total.Currency || m.UserID != o.UserID):
		e.addf("a confirmed order is paid once", id, "total %s, captured %d %s (%s)", o.Total, m.Captured, m.Currency, stateOr(m.State))
	case fulfilled(o.Status) && m.Refunded != o.Refunded.Amount:
		e.addf("a refund reaches the wallet once", id, "order says %s, wallet says %d", o.Refunded, m.Refunded)
	case !fulfilled(o.Status) && ok && m.State != payments.OutcomeVoided:
		e.addf("an order that failed costs nothing", id, "%d still %s", m.Authorized, m.State)
	}
}

func stateOr(s string) string {
	if s == "" {
		return "missing"
	}
	return s
}

// notices checks that each end of an order reached its user exactly once.
func (e *evidence) notices(id string, o *domain.Order) {
	for _, ev := range o.Timeline {
		if !contract.Published(ev.Type) {
			continue
		}
		n := e.entries[ev.ID]
		if n > 1 || n == 0 && e.started.Sub(ev.Time) > patience {
			e.addf("one inbox entry per event", ev.ID, "%d entries", n)
		}
		if n == 0 {
			e.counts["orders.noticesUnderWay"]++
		}
	}
}

// history checks that the timeline is a path of the state machine that leads to
// the order's state, and that the sums agree.
func (e *evidence) history(id string, o *domain.Order) {
	var at contract.Status
	for i, ev := range o.Timeline {
		if ev.Sequence != int64(i+1) {
			e.addf("an order's history has no gaps", id, "entry %d has sequence %d", i, ev.Sequence)
		}
		next := domain.Following(at, ev)
		if next == "" {
			e.addf("an order's history is a path of the saga", id, "%s after %s", ev.Type, stateOr(string(at)))
			return
		}
		at = next
	}
	if at != o.Status {
		e.addf("an order's state is the end of its history", id, "is %s, history leads to %s", o.Status, stateOr(string(at)))
	}
	e.sums(id, o)
}

func (e *evidence) sums(id string, o *domain.Order) {
	if o.Total.Currency == "" {
		return
	}
	var total, refunded int64
	for _, l := range o.Lines {
		if l.UnitPrice.Amount*l.Quantity != l.LineTotal.Amount {
			e.addf("a line's total is price times quantity", id, "%s: %d x %s is not %s", l.SKU, l.Quantity, l.UnitPrice, l.LineTotal)
		}
		total += l.LineTotal.Amount
	}
	for _, r := range o.Refunds {
		if r.Done {
			refunded += r.Amount.Amount
		}
	}
	if total != o.Total.Amount {
		e.addf("an order's total is the sum of its lines", id, "lines add up to %d, total is %s", total, o.Total)
	}
	if refunded != o.Refunded.Amount || refunded > total {
		e.addf("an order's refunds add up and stay within its total", id, "refunds add up to %d, refunded is %s of %s", refunded, o.Refunded, o.Total)
	}
}
