package sim

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"caravan/dapr/client"
)

// Plan is one run.
type Plan struct {
	Seed   uint64
	Faults Faults
	Size   Size
	// Keys is the folder of the signing keys. The runs of one process share it.
	Keys string
	Log  *slog.Logger
	// Hasty runs do not wait until holds expire that orders left: correct orders leave almost none.
	Hasty bool
	// Whole runs keep their complete trace.
	Whole bool
	// Audited runs are audited all the time. Audits must find nothing while customers buy either.
	Audited bool
	// Spoil, if set, changes documents after everything has been at rest for a while, just before the audit.
	Spoil func(stored func(app string) Documents)
}

// Seeded is the plan for a seed.
func Seeded(seed uint64, keys string, log *slog.Logger) Plan {
	rng := rand.New(rand.NewPCG(seed, 1))
	plan := Plan{Seed: seed, Faults: Drawn(rng), Size: Usual(rng), Keys: keys, Log: log}
	plan.Faults.drawPush(rng)
	return plan
}

// Checkout is the plan of one customer who registers, deposits, buys and gets messages. The only faults are the crashes at the given
// points.
func Checkout(keys string, log *slog.Logger, points ...CrashPoint) Plan {
	return Plan{Seed: 1, Faults: Faults{CrashAt: points, Email: true, Push: true}, Size: Size{Products: 2, Customers: 1, Orders: 1}, Keys: keys, Log: log}
}

// Result is the result of a run.
type Result struct {
	Violations []string
	Digest     uint64        // of everything that happened until the audit, in order
	Boundaries int           // calls of programs to the outside before the world was calm
	Events     int           // events that happened
	Revisions  int           // revisions of stocks and wallets, each checked when it was written
	Virtual    time.Duration // virtual time that passed
	Orders     int
	Audits     int           // audits that ended while customers were in the shop
	Held       int           // orders that had not ended when the planned outage ended
	Recovered  time.Duration // how long these took to end then
	Fired      map[string]int
	Trace      []Noted // the end of the trace, or all of it
	Audit      client.Audit
	// Messages is how often the other side has taken each message, by channel and id of the delivery.
	Messages map[Message]int
}

// Limits of a run in virtual time.
const (
	visiting = 2 * time.Hour
	settling = time.Hour
)

// Run runs a plan in its own bubble.
func Run(t *testing.T, plan Plan) (result Result) {
	t.Helper()
	// A garbage collection would pause goroutines at any place and let them continue in another order.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	synctest.Test(t, func(*testing.T) { result = plan.run() })
	runtime.GC()
	return result
}

func (p Plan) run() Result {
	w := newWorld(p.Seed, p.Faults, p.Keys, p.Log)
	if err := w.broker.read(repository()); err != nil {
		return Result{Violations: []string{err.Error()}}
	}
	w.hasty, w.whole = p.Hasty, p.Whole
	w.open()
	w.torment()
	s := newShop(w, p.Size)
	s.open()
	if p.Audited {
		go s.watch()
	}
	result := Result{}
	err := w.run("customers to leave", s.empty, visiting)
	if err == nil {
		w.heal()
		err = w.run("the outage to end", func() bool { return !w.away }, settling)
	}
	if err == nil {
		err = w.run("orders to end", w.eachSecond(w.resting), settling)
	}
	if err == nil {
		digested := w.digested()
		if p.Spoil != nil { // the audit must treat the events as old ones
			old := w.now().Add(digestion + memory)
			digested = func() bool { return !w.now().Before(old) }
		}
		err = w.run("events to arrive", digested, settling)
	}
	if err == nil { // a call that was delivered twice may have held a unit since
		err = w.run("what came late to end", w.eachSecond(w.resting), settling)
	}
	if err == nil { // a mail whose attempt was lost waits until its claim has ended
		err = w.run("mails to be sent", w.eachSecond(w.posted), settling)
	}
	result.Digest = w.digest.Sum64()
	if err == nil {
		if p.Spoil != nil {
			p.Spoil(func(app string) Documents { return Documents{w.stores[app]} })
		}
		s.threads = w.threads()
		inspected := false
		go func() {
			violations := s.inspect()
			w.arrive("inspected", func() { result.Violations, result.Audit, inspected = violations, s.report, true })
		}()
		err = w.run("the audit", func() bool { return inspected }, settling)
	}
	if err != nil {
		result.Violations = append(result.Violations, err.Error())
		result.Violations = append(result.Violations, s.failures...)
	}
	result.Violations = append(result.Violations, w.steps.violations()...)
	result.Violations = append(result.Violations, w.strangeMails()...)
	result.Violations = append(result.Violations, w.strangePushes()...)
	result.Violations = append(result.Violations, w.wrongMessages[:min(len(w.wrongMessages), 10)]...)
	if w.late != "" {
		result.Violations = append(result.Violations, w.late)
	}
	w.calm = true
	w.close()
	// What is still in progress ends by its own deadline.
	end := w.now().Add(2 * time.Minute)
	_ = w.run("goroutines to end", func() bool { return !w.now().Before(end) }, 5*time.Minute)
	for _, c := range s.customers {
		result.Orders += len(c.orders)
	}
	result.Boundaries, result.Events, result.Virtual = w.touched, w.events, w.now().Sub(w.began)
	result.Fired, result.Trace, result.Revisions = w.fired, w.trace, w.steps.revisions
	result.Messages = w.messages()
	result.Audits, result.Held, result.Recovered = s.audits, w.held, w.recovered
	return result
}

// storm is how long faults last at most. The system promises that everything ends after them. It does not promise
// progress between crashes that follow each other faster than a program starts.
const storm = 5 * time.Minute

// torment crashes and stops parts of the world until it is calm.
func (w *World) torment() {
	w.after(storm, "end of the storm", w.heal)
	w.planOutage()
	often := func(what string, mean time.Duration, do func()) {
		if mean == 0 {
			return
		}
		var again func()
		again = func() {
			if !w.calm {
				do()
				w.after(time.Duration(w.rng.ExpFloat64()*float64(mean)), what, again)
			}
		}
		w.after(time.Duration(w.rng.ExpFloat64()*float64(mean)), what, again)
	}
	often("crash", w.faults.Crash, func() {
		r := w.replicas[w.rng.IntN(len(w.replicas))]
		if r.program != nil {
			w.fired["crash"]++
			w.crash(r)
		}
	})
	often("sidecar crash", w.faults.SidecarCrash, func() { w.crashSidecar(w.replicas[w.rng.IntN(len(w.replicas))]) })
	often("store outage", w.faults.StoreDown, func() { w.outage(apps[w.rng.IntN(len(apps))]) })
	often("store hang", w.faults.StoreHangs, func() { w.hang(apps[w.rng.IntN(len(apps))]) })
	often("broker outage", w.faults.BrokerDown, w.broker.outage)
}

// eachSecond checks an expensive condition only once a second.
func (w *World) eachSecond(condition func() bool) func() bool {
	var next time.Time
	return func() bool {
		if w.now().Before(next) {
			return false
		}
		next = w.now().Add(time.Second)
		return condition()
	}
}

// heal ends all faults: what is down returns by itself, and nothing new fails.
func (w *World) heal() {
	if w.calm {
		return
	}
	w.note("! calm")
	w.calm, w.touched = true, w.boundary
	for _, r := range w.replicas {
		if r.program == nil {
			w.start(r)
		}
	}
}

// String is a summary of the result.
func (r Result) String() string {
	fired := make([]string, 0, len(r.Fired))
	for _, kind := range slices.Sorted(maps.Keys(r.Fired)) {
		fired = append(fired, fmt.Sprintf("%s %d", kind, r.Fired[kind]))
	}
	return fmt.Sprintf("%d orders, %d events and %d touches of the outside in %s; faults: %s",
		r.Orders, r.Events, r.Boundaries, r.Virtual.Round(time.Second), strings.Join(fired, ", "))
}

// repository is the folder of the module in which this file was compiled.
func repository() string {
	_, file, _, _ := runtime.Caller(0)
	if !filepath.IsAbs(file) { // with -trimpath; a test runs in the folder of its package
		return filepath.Join("..", "..")
	}
	return filepath.Join(filepath.Dir(file), "..", "..")
}
