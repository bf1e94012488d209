// Package audit checks the invariants of the whole system: each service's own, and that orders, stock, money, events and
// inboxes agree about every order.
package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"caravan/internal/audit"
	"caravan/internal/bloom"
	"caravan/internal/clock"
	"caravan/internal/feed"
	"caravan/internal/invoke"
	"caravan/services/orders/app"
	"caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
)

// Audit compares the data of all services page by page: it reads a page of one service and asks the others about it. So it
// needs the same memory for any amount of data. It reads each effect after its cause, so it may run while everything works.
type Audit struct {
	Orders *app.Orders
	Lists  app.UserOrders
	Reader *feed.Reader
	// Trail is that of the events of orders.
	Trail   feed.Trail
	Invoker invoke.Invoker
	Clock   clock.Clock
	// Others are the services that check only themselves, with the paths of their audits; see [Others].
	Others map[string]string

	mu      sync.Mutex
	running *run
}

// run is one audit under way.
type run struct {
	started time.Time
	done    chan struct{}
	report  audit.Report // set when done is closed
}

// timeout bounds one whole audit.
const timeout = 30 * time.Minute

// Run joins the audit under way or starts one, and waits for its end, at most for the given time. The caller repeats a call
// that returns a report which is not complete. An audit that ends goes to all who wait, and the next call starts a new one.
func (a *Audit) Run(ctx context.Context, wait time.Duration) audit.Report {
	a.mu.Lock()
	joined := a.running
	if joined == nil {
		joined = &run{started: a.Clock.Now(), done: make(chan struct{})}
		a.running = joined
		go a.work(context.WithoutCancel(ctx), joined)
	}
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case <-joined.done:
		return joined.report
	case <-ctx.Done():
		return audit.Unfinished(joined.started)
	}
}

// work performs a run. It ends by timeout.
func (a *Audit) work(ctx context.Context, r *run) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r.report = a.audit(ctx, r.started)
	a.mu.Lock()
	a.running = nil
	a.mu.Unlock()
	close(r.done)
}

// audit looks at everything. If the sums do not agree, it looks a second time before it reports them in this case: an order
// changed so shortly before the audit began that by a correct clock it may have changed afterwards.
func (a *Audit) audit(ctx context.Context, started time.Time) audit.Report {
	w := a.walk(ctx, started)
	if w.differ && a.Clock.Sleep(ctx, w.sales.newest.Add(clockSkew).Sub(a.Clock.Now())) == nil {
		w = a.walk(ctx, a.Clock.Now())
	}
	return w.results.Report(started)
}

// walk looks at everything once. Orders come last: their effects on other services were there before, so that the sums agree.
func (a *Audit) walk(ctx context.Context, started time.Time) *walk {
	w := newWalk(a, started)
	w.asked(contract.App, w.Trail.ReadIndex(ctx))
	var all sync.WaitGroup
	parts := map[string]func(context.Context) error{
		products.App: w.stock, payments.App: w.money, "users": w.users, "notifications": w.inboxes,
	}
	for app, path := range a.Others {
		parts[app] = w.other(app, path)
	}
	for service, part := range parts {
		all.Go(func() { w.asked(service, part(ctx)) })
	}
	all.Wait()
	w.asked(contract.App, w.orders(ctx))
	w.sums()
	return w
}

// walk is one look at everything. Its parts run concurrently and share what is here.
type walk struct {
	*Audit
	started time.Time
	results *audit.Collector

	mu     sync.Mutex // never held while asking
	failed bool       // a service could not be asked

	events knownEvents
	listed *bloom.Filter // the entries of all lists, after all were read
	sales  sales
	differ bool // the sums do not agree, and an order may have changed meanwhile
}

// invariants are those that the audit checks itself.
var invariants = slices.Concat([]string{
	contract.InvariantAnswers, contract.InvariantHistory, contract.InvariantOneEnd, contract.InvariantReason, contract.InvariantTotals,
	contract.InvariantRefunds, contract.InvariantKey, contract.InvariantProgress, contract.InvariantWaiting,
	contract.InvariantListed, contract.InvariantSold, contract.InvariantGivenBack, contract.InvariantHeldFor,
	contract.InvariantPrice, contract.InvariantUnits, contract.InvariantPaid, contract.InvariantRefunded,
	contract.InvariantFree, contract.InvariantPaidFor, contract.InvariantRevenue, contract.InvariantNotice,
	contract.InvariantFact, contract.InvariantMessageFact, contract.InvariantPulled,
}, feed.TrailInvariants)

func newWalk(a *Audit, started time.Time) *walk {
	w := &walk{Audit: a, started: started, results: audit.NewCollector(), events: newKnownEvents()}
	w.sales.paid = make(map[string]int64)
	w.results.Count("orders.inFlight", 0)
	w.record(audit.NewPage(invariants...).Results)
	return w
}

// record adds results of the audit's own checks.
func (w *walk) record(own audit.Results) { w.results.Add(contract.App, own) }

// asked records whether a part of the audit could ask a service everything.
func (w *walk) asked(service string, err error) {
	var own audit.Results
	own.Check(err == nil, contract.InvariantAnswers, service, "%v", err)
	w.record(own)
	if err != nil {
		w.mu.Lock()
		w.failed = true
		w.mu.Unlock()
	}
}

const (
	// Wait is how long a service, or the store of orders, may be unavailable. After that, what it was to be asked counts as not
	// checked.
	Wait = time.Minute
	// askPause is the longest pause between two attempts.
	askPause = 5 * time.Second
)

// ask asks a service. It repeats the question while the service is unavailable.
func (w *walk) ask(ctx context.Context, app, path string, in, out any) error {
	until := w.Clock.Now().Add(Wait)
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, askPause) {
		err := w.Invoker.Invoke(ctx, app, path, in, out)
		if err == nil {
			return nil
		}
		if !errors.Is(err, invoke.ErrUnavailable) || w.Clock.Now().After(until) || w.Clock.Sleep(ctx, pause) != nil {
			return fmt.Errorf("auditing %s: %w", app, err)
		}
	}
}

// pages reads all pages of a service's own audit, records its results, and gives each page to take.
func pages[T any, P interface {
	*T
	Common() *audit.Page
}](ctx context.Context, w *walk, app, path string, take func(P) error) error {
	for cursor := ""; ; {
		page := P(new(T))
		if err := w.ask(ctx, app, path, audit.Request{Cursor: cursor}, page); err != nil {
			return err
		}
		common := page.Common()
		w.results.AddPage(app, common)
		if err := take(page); err != nil {
			return err
		}
		if cursor = common.Next; cursor == "" {
			return nil
		}
	}
}
