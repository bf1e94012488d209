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
	// Keys is the folder of the signing keys; runs of one process share it.
	Keys string
	Log  *slog.Logger
	// Hasty runs do not wait for holds that orders left behind to expire: sound orders leave none, or next to none.
	Hasty bool
	// Whole runs keep their trace from the beginning.
	Whole bool
	// Audited runs are audited all the time: while customers buy, nothing may be found either.
	Audited bool
	// Spoil, if set, changes documents once everything has been at rest for a while, just before the audit.
	Spoil func(stored func(app string) Documents)
}

// Seeded is the plan that follows from a seed alone.
func Seeded(seed uint64, keys string, log *slog.Logger) Plan {
	rng := rand.New(rand.NewPCG(seed, 1))
	return Plan{Seed: seed, Faults: Drawn(rng), Size: Usual(rng), Keys: keys, Log: log}
}

// Checkout is the plan of one customer who registers, pays in and buys, in a world without faults but
// the crashes at the given points.
func Checkout(keys string, log *slog.Logger, points ...CrashPoint) Plan {
	return Plan{Seed: 1, Faults: Faults{CrashAt: points}, Size: Size{Products: 2, Customers: 1, Orders: 1}, Keys: keys, Log: log}
}

// Result is what came of a run.
type Result struct {
	Violations []string
	Digest     uint64        // of everything that happened until the audit, in order
	Boundaries int           // how often programs touched the outside before the world was calm
	Events     int           // that happened
	Revisions  int           // of stocks and wallets, each checked when it was written
	Virtual    time.Duration // that passed
	Orders     int
	Audits     int           // that came to their end while customers were in the shop
	Held       int           // orders that had not ended when the planned outage ended
	Recovered  time.Duration // how long they took to end then
	Fired      map[string]int
	Trace      []Noted // the end of it, or all
	Audit      client.Audit
}

// Limits of a run in virtual time.
const (
	visiting = 2 * time.Hour
	settling = time.Hour
)

// Run performs a plan in a bubble of its own.
func Run(t *testing.T, plan Plan) (result Result) {
	t.Helper()
	// A collection would stop goroutines wherever they are and let them go on in another order.
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
		if p.Spoil != nil { // the audit has to take the events for old ones
			old := w.now().Add(digestion + memory)
			digested = func() bool { return !w.now().Before(old) }
		}
		err = w.run("events to arrive", digested, settling)
	}
	if err == nil { // a call that came a second time may have held a unit since
		err = w.run("what came late to end", w.eachSecond(w.resting), settling)
	}
	result.Digest = w.digest.Sum64()
	if err == nil {
		if p.Spoil != nil {
			p.Spoil(func(app string) Documents { return Documents{w.stores[app]} })
		}
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
	if w.late != "" {
		result.Violations = append(result.Violations, w.late)
	}
	w.calm = true
	w.close()
	// What is still on its way ends by its own deadline.
	end := w.now().Add(2 * time.Minute)
	_ = w.run("goroutines to end", func() bool { return !w.now().Before(end) }, 5*time.Minute)
	for _, c := range s.customers {
		result.Orders += len(c.orders)
	}
	result.Boundaries, result.Events, result.Virtual = w.touched, w.events, w.now().Sub(w.began)
	result.Fired, result.Trace, result.Revisions = w.fired, w.trace, w.steps.revisions
	result.Audits, result.Held, result.Recovered = s.audits, w.held, w.recovered
	return result
}

// storm is how long faults go on at most. What is promised is that everything comes to its end after
// them, not that anything gets done between crashes that follow each other faster than a program starts.
const storm = 5 * time.Minute

// torment keeps crashing and stopping things until the world is calm.
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

// eachSecond asks a condition that costs something only once a second.
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

// heal ends all faults: what is down comes back by itself, and nothing new fails.
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

// String sums a result up.
func (r Result) String() string {
	fired := make([]string, 0, len(r.Fired))
	for _, kind := range slices.Sorted(maps.Keys(r.Fired)) {
		fired = append(fired, fmt.Sprintf("%s %d", kind, r.Fired[kind]))
	}
	return fmt.Sprintf("%d orders, %d events and %d touches of the outside in %s; faults: %s",
		r.Orders, r.Events, r.Boundaries, r.Virtual.Round(time.Second), strings.Join(fired, ", "))
}

// repository is the folder of the module, from where this file was compiled.
func repository() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}
