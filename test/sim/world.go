// Package sim runs the real programs of Caravan in a simulated world: one process and virtual time. Each program has a
// simulated sidecar that fails as real ones were seen to fail. Programs crash at every point where they call the
// outside, and customers try again. One seed decides everything, so a failing run can be repeated.
//
// The programs are those that main runs (services/*/assembly), including their Dapr client. Only the SDK's gRPC calls
// and the HTTP calls to the sidecar are simulated. Time comes from testing/synctest: it does not move while anything
// runs, and jumps to the next event when everything waits. One event happens at a time. After each, the world waits
// until all goroutines wait again, which makes a run repeatable.
package sim

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"
)

// World is one simulated run. Only the goroutine that calls Run uses its state, except arrivals.
type World struct {
	seed    uint64
	rng     *rand.Rand
	faults  Faults
	calm    bool // nothing fails now
	hasty   bool // nobody waits until holds expire
	closing bool // and nothing starts now
	log     *slog.Logger
	began   time.Time

	mu       sync.Mutex
	arrivals []arrival
	wake     chan struct{}

	agenda   agenda
	sequence int64
	events   int // the number of events so far
	digest   hash.Hash64
	trace    []Noted
	whole    bool // the trace is kept from the beginning

	replicas []*replica
	stores   map[string]*store
	broker   *broker
	keys     string // the folder of the signing keys

	boundary   int            // calls of programs to the outside
	touched    int            // the same until the world became calm
	crashAfter map[*call]bool // the program crashes before it gets the answer
	fired      map[string]int // faults by kind
	steps      steps          // every revision of stocks and wallets

	mails         map[string][]*mailed // what the mail server has taken, by id
	devices       map[string]*device   // by the path of their endpoint
	wrongMessages []string             // what was wrong when one was taken

	away      bool          // the planned outage has not ended
	held      int           // orders that it delayed
	recovered time.Duration // how long they took to end
	late      string        // what was wrong about that
}

// arrival is a request of a program's or customer's goroutine to the world. The world sorts the arrivals of one instant
// by their label before chance decides about them.
type arrival struct {
	label string
	do    func()
}

// moment is something that will happen at a time.
type moment struct {
	at       time.Time
	sequence int64
	label    string
	do       func()
}

type agenda []moment

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return cmp.Or(a[i].at.Compare(a[j].at), cmp.Compare(a[i].sequence, a[j].sequence)) < 0
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(moment)) }
func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}

func newWorld(seed uint64, faults Faults, keys string, log *slog.Logger) *World {
	w := &World{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 0x5eed)), faults: faults, log: log, began: time.Now(),
		wake: make(chan struct{}, 1), digest: fnv.New64a(), stores: make(map[string]*store), keys: keys,
		fired: make(map[string]int), crashAfter: make(map[*call]bool), mails: make(map[string][]*mailed), devices: make(map[string]*device),
	}
	w.broker = newBroker(w)
	return w
}

// now is the virtual time.
func (w *World) now() time.Time { return time.Now() }

// arrive passes something to the world. It happens in the next step.
func (w *World) arrive(label string, do func()) {
	w.mu.Lock()
	w.arrivals = append(w.arrivals, arrival{label, do})
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// after schedules something for later. Only the world's goroutine calls it.
func (w *World) after(d time.Duration, label string, do func()) {
	w.sequence++
	heap.Push(&w.agenda, moment{w.now().Add(d), w.sequence, label, do})
}

// errStuck says that the run did not end within its virtual time.
var errStuck = errors.New("the simulation did not come to an end")

// run runs the world until the condition holds.
func (w *World) run(what string, until func() bool, limit time.Duration) error {
	deadline := w.now().Add(limit)
	for {
		synctest.Wait()
		w.admit()
		if until() {
			return nil
		}
		if w.now().After(deadline) {
			return fmt.Errorf("%w: waiting for %s", errStuck, what)
		}
		if len(w.agenda) > 0 && !w.agenda[0].at.After(w.now()) {
			w.happen(heap.Pop(&w.agenda).(moment))
			continue
		}
		w.rest(deadline)
	}
}

// rest waits for the next moment or the next arrival.
func (w *World) rest(deadline time.Time) {
	next := deadline.Add(time.Millisecond)
	if len(w.agenda) > 0 && w.agenda[0].at.Before(next) {
		next = w.agenda[0].at
	}
	timer := time.NewTimer(next.Sub(w.now()))
	defer timer.Stop()
	select {
	case <-w.wake:
	case <-timer.C:
	}
}

// admit handles what arrived since the last step.
func (w *World) admit() {
	w.mu.Lock()
	arrivals := w.arrivals
	w.arrivals = nil
	w.mu.Unlock()
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return strings.Compare(a.label, b.label) })
	for _, a := range arrivals {
		w.note("> " + a.label)
		a.do()
	}
}

func (w *World) happen(m moment) {
	w.note("* " + m.label)
	w.events++
	m.do()
}

// Noted is something that happened, and its time since the beginning.
type Noted struct {
	At   time.Duration
	What string
}

// String is a line of a trace.
func (n Noted) String() string { return fmt.Sprintf("%12.6f %s", n.At.Seconds(), n.What) }

// maxTrace limits the trace that is kept of a run. The digest covers all of it.
const maxTrace = 4000

func (w *World) note(what string) {
	n := Noted{w.now().Sub(w.began), what}
	_, _ = w.digest.Write(binary.LittleEndian.AppendUint64(nil, uint64(n.At)))
	_, _ = io.WriteString(w.digest, what)
	w.trace = append(w.trace, n)
	if !w.whole && len(w.trace) > 2*maxTrace {
		w.trace = slices.Clone(w.trace[len(w.trace)-maxTrace:])
	}
}

// chance is true with the given probability, and never in a calm world.
func (w *World) chance(fault string, p float64) bool {
	if w.calm || p == 0 || w.rng.Float64() >= p {
		return false
	}
	w.fired[fault]++
	return true
}

// between draws a duration from low up to high.
func (w *World) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rng.Float64()*float64(high-low))
}

// latency is how long one way through the network takes. It is mostly short and sometimes long.
func (w *World) latency() time.Duration {
	if w.chance("slow", w.faults.Slow) {
		return w.between(100*time.Millisecond, 4*time.Second)
	}
	return w.between(50*time.Microsecond, 3*time.Millisecond)
}

// errCrashed is what a crashed program gets from the outside. Nothing that it does with it has an effect.
var errCrashed = errors.New("this program has crashed")

// call is one call to the outside.
type call struct {
	label  string
	origin *life // nil for customers
	done   chan struct{}
	err    error
	closed bool
}

// ask submits a call and waits for its answer. plan runs in the world and ensures that answer is called at some time.
func (w *World) ask(ctx context.Context, origin *life, label string, plan func(c *call)) error {
	c := &call{label: label, origin: origin, done: make(chan struct{})}
	var gone chan struct{}
	if origin != nil {
		if gone = origin.gone; origin.over() {
			return errCrashed
		}
		c.label = origin.String() + " " + label
	}
	w.arrive(c.label, func() { w.begin(c, plan) })
	select {
	case <-c.done:
		return c.err
	case <-gone:
		return errCrashed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin counts the call, and crashes the program at this point if that is planned.
func (w *World) begin(c *call, plan func(c *call)) {
	if c.origin != nil {
		if c.origin.over() {
			return
		}
		w.boundary++
		if w.crashHere(Before) {
			w.fired["crash before"]++
			w.crash(c.origin.replica)
			return
		}
		c.label = fmt.Sprintf("%s #%d", c.label, w.boundary)
		if w.crashHere(After) {
			w.crashAfter[c] = true
		}
	}
	plan(c)
}

func (w *World) crashHere(phase Phase) bool {
	for _, at := range w.faults.CrashAt {
		if at.Boundary == w.boundary && at.Phase == phase {
			return true
		}
	}
	return false
}

// answer ends a call. A second answer is ignored.
func (w *World) answer(c *call, err error) {
	if c.closed {
		return
	}
	c.closed = true
	planned := w.crashAfter[c]
	delete(w.crashAfter, c)
	if planned && !c.origin.over() {
		w.fired["crash after"]++
		w.crash(c.origin.replica)
		return
	}
	c.err = err
	close(c.done)
}
