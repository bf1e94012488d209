package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"caravan/internal/audit"
	"caravan/internal/bloom"
	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/invoke"
	"caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
)

// Audit checks the invariants of the whole system: each service's own, and that orders, stock, money, events and inboxes
// agree about every order. It joins their data page by page, each time asking the one side about what it read from the
// other, so it needs the same memory for any amount of data; and it reads the effect after its cause, so it may run
// while everything works.
type Audit struct {
	Orders *Orders
	Lists  *document.Chain[Entry]
	Reader *feed.Reader
	// Trail is that of the events of orders.
	Trail   feed.Trail
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

// Tally says how often an invariant was checked and how often it did not hold.
type Tally struct {
	Service   string `json:"service"`
	Invariant string `json:"invariant"`
	Checked   int64  `json:"checked"`
	Violated  int64  `json:"violated"`
}

// Report is the result of an audit, or what is known of one under way.
type Report struct {
	// Findings are the first maxFindings; Invariants count them all.
	Findings []Finding `json:"findings"`
	// Invariants are all there are, by service and name. One that was checked 0 times was not proven by this audit.
	Invariants []Tally          `json:"invariants"`
	Counts     map[string]int64 `json:"counts"`
	Complete   bool             `json:"complete"`
	StartedAt  time.Time        `json:"startedAt"`
}

// maxFindings bounds the findings of a report.
const maxFindings = 1000

type auditRun struct {
	started time.Time
	done    chan struct{}
	report  Report
}

// auditTimeout bounds one whole audit.
const auditTimeout = 30 * time.Minute

// Run joins the audit under way or starts one, and waits for it as long as ctx allows; a report that is not complete
// says to ask again. An audit that finishes goes to all who wait, and the next request starts a new one.
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
		return run.report, nil
	case <-ctx.Done():
		return Report{Findings: []Finding{}, Invariants: []Tally{}, Counts: map[string]int64{}, StartedAt: run.started}, nil
	}
}

// work performs a run; it owns itself and ends by auditTimeout.
func (a *Audit) work(ctx context.Context, run *auditRun) {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	run.report = a.audit(ctx, run.started)
	a.mu.Lock()
	a.running = nil
	a.mu.Unlock()
	close(run.done)
}

// auditors are the parts of an audit that run at once. Each ends with an error if it could not ask a service.
func (w *auditWalk) auditors() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		products.App: w.stock, payments.App: w.money, "users": w.users, "notifications": w.inboxes,
	}
}

// audit runs all parts. Orders come last: what they have led to elsewhere was there before, so that the sums agree.
//
// Sums that do not agree are looked at again before they are reported, if an order changed so shortly before the audit
// began that it may have changed after it, by a clock that is behind.
func (a *Audit) audit(ctx context.Context, started time.Time) Report {
	w := a.walk(ctx, started)
	if w.differ && a.Clock.Sleep(ctx, w.sales.newest.Add(clockSkew).Sub(a.Clock.Now())) == nil {
		w = a.walk(ctx, a.Clock.Now())
	}
	r := w.report()
	r.StartedAt = started
	return r
}

// walk is one look at everything.
func (a *Audit) walk(ctx context.Context, started time.Time) *auditWalk {
	w := newAuditWalk(a, started)
	w.asked(contract.App, w.index(ctx))
	var all sync.WaitGroup
	for service, part := range w.auditors() {
		all.Go(func() { w.asked(service, part(ctx)) })
	}
	all.Wait()
	w.asked(contract.App, w.orders(ctx))
	w.sums()
	return w
}

// auditWalk is one audit under way. Its parts share what it has recorded.
type auditWalk struct {
	*Audit
	started time.Time

	mu       sync.Mutex // never held while asking
	findings []Finding
	tallies  map[[2]string]*Tally
	counts   map[string]int64
	failed   bool

	told   told
	listed *bloom.Filter // the entries of all lists, once all were read
	sales  sales
	differ bool // the sums do not agree, which may be because an order moves
}

// invariants are those that orders checks.
var invariants = append([]string{
	contract.InvariantAnswers, contract.InvariantHistory, contract.InvariantOneEnd, contract.InvariantReason, contract.InvariantTotals,
	contract.InvariantRefunds, contract.InvariantKey, contract.InvariantProgress, contract.InvariantWaiting,
	contract.InvariantListed, contract.InvariantSold, contract.InvariantGivenBack, contract.InvariantHeldFor,
	contract.InvariantPrice, contract.InvariantUnits, contract.InvariantPaid, contract.InvariantRefunded,
	contract.InvariantFree, contract.InvariantPaidFor, contract.InvariantRevenue, contract.InvariantNotice,
	contract.InvariantFact, contract.InvariantPulled,
}, feed.TrailInvariants...)

func newAuditWalk(a *Audit, started time.Time) *auditWalk {
	w := &auditWalk{
		Audit: a, started: started, tallies: make(map[[2]string]*Tally),
		counts: map[string]int64{"orders.inFlight": 0},
	}
	w.told.reset()
	w.sales.paid = make(map[string]int64)
	own := audit.NewPage(invariants...)
	w.record(contract.App, own.Results)
	return w
}

// record takes over results.
func (w *auditWalk) record(service string, results audit.Results) {
	w.mu.Lock()
	defer w.mu.Unlock()
	tally := func(invariant string) *Tally {
		key := [2]string{service, invariant}
		if w.tallies[key] == nil {
			w.tallies[key] = &Tally{Service: service, Invariant: invariant}
		}
		return w.tallies[key]
	}
	for invariant, checks := range results.Checked {
		tally(invariant).Checked += checks
	}
	for _, f := range results.Findings {
		tally(f.Invariant).Violated++
		if len(w.findings) < maxFindings {
			w.findings = append(w.findings, Finding{Service: service, Invariant: f.Invariant, Key: f.Key, Detail: f.Detail})
		}
	}
}

// count adds to a quantity of the report.
func (w *auditWalk) count(name string, n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[name] += n
}

// asked notes whether a service could be asked all that one part of the audit had to ask.
func (w *auditWalk) asked(service string, err error) {
	var own audit.Results
	own.Check(err == nil, contract.InvariantAnswers, service, "%v", err)
	w.record(contract.App, own)
	if err != nil {
		w.mu.Lock()
		w.failed = true
		w.mu.Unlock()
	}
}

// report puts the report together.
func (w *auditWalk) report() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := Report{Findings: append([]Finding{}, w.findings...), Invariants: []Tally{}, Counts: w.counts, Complete: true, StartedAt: w.started}
	for _, t := range w.tallies {
		r.Invariants = append(r.Invariants, *t)
	}
	slices.SortFunc(r.Invariants, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Invariant, b.Invariant))
	})
	slices.SortFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Invariant, b.Invariant), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Detail, b.Detail))
	})
	return r
}

const (
	// AuditWait is how long a service, or the store of orders itself, may be away before what it was to be asked counts as
	// not checked.
	AuditWait = time.Minute
	// askPause is the longest pause between two attempts.
	askPause = 5 * time.Second
)

// ask asks a service, again and again while it is away.
func (w *auditWalk) ask(ctx context.Context, app, path string, in, out any) error {
	until := w.Clock.Now().Add(AuditWait)
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

// pages walks a service's own audit, records what it says, and hands over each page.
func pages[T any, P interface {
	*T
	Common() *audit.Page
}](ctx context.Context, w *auditWalk, app, path string, take func(P) error) error {
	for cursor := ""; ; {
		page := P(new(T))
		if err := w.ask(ctx, app, path, audit.Request{Cursor: cursor}, page); err != nil {
			return err
		}
		common := page.Common()
		w.record(app, common.Results)
		for name, n := range common.Counts {
			w.count(app+"."+name, n)
		}
		if err := take(page); err != nil {
			return err
		}
		if cursor = common.Next; cursor == "" {
			return nil
		}
	}
}

// index reads the index of the orders' own feed, by which their events are judged.
func (w *auditWalk) index(ctx context.Context) error {
	w.Trail.Coverage.Restart()
	for {
		if complete, err := w.Trail.Coverage.Extend(ctx); err != nil || complete {
			return err
		}
	}
}

// sales are what all confirmed orders come to.
type sales struct {
	units  int64
	paid   map[string]int64 // less refunds, in minor units by currency
	moving bool             // an order has not ended, or ended after the audit began
	newest time.Time        // when an order changed last, by the clock of whoever changed it
}

// clockSkew is the most by which clocks may differ (see feed.Timing).
const clockSkew = 15 * time.Second

// sums compares what all orders come to with what all stock and all wallets say, if nothing moves. An order that changed
// less than clockSkew before the audit began may move: sums that agree prove something nevertheless, others nothing.
func (w *auditWalk) sums() {
	w.mu.Lock()
	failed, counts := w.failed, w.counts
	w.mu.Unlock()
	if failed || w.sales.moving {
		return
	}
	var own audit.Results
	gone := counts[products.App+".committed"]
	own.Check(gone == w.sales.units, contract.InvariantUnits, contract.App, "%d units are gone, %d were sold", gone, w.sales.units)
	for currency, paid := range w.sales.paid {
		taken := counts[payments.App+".merchant:sales."+currency]
		own.Check(taken == paid, contract.InvariantRevenue, currency, "%d were taken, orders paid %d less refunds", taken, paid)
	}
	if w.differ = len(own.Findings) > 0 && w.sales.newest.Add(clockSkew).After(w.started); !w.differ {
		w.record(contract.App, own)
	}
}
