package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Part is a kind of thing that programs depend on.
type Part string

// The parts of a world. There is one broker, and a store, a program and a sidecar of each service.
const (
	TheBroker  Part = "broker"
	TheStore   Part = "store"
	TheProgram Part = "program"
	TheSidecar Part = "sidecar"
)

// Outage is one dependency that is unavailable for a while.
type Outage struct {
	Part Part
	// App is the service whose part it is; empty for the broker.
	App string
	// Hangs: it takes requests and answers none. Otherwise it refuses them.
	Hangs bool
	// Orders is how many orders have been accepted when it begins, a few milliseconds later, so that it meets orders in
	// different states.
	Orders int
	// For is how long it takes; 0 for no outage.
	For time.Duration
}

// String is its name, which holds no space.
func (o Outage) String() string {
	how := "down"
	if o.Hangs {
		how = "hung"
	}
	return strings.Join(slices.DeleteFunc([]string{o.App, string(o.Part), how, o.For.String()}, func(s string) bool { return s == "" }), "-")
}

// outages are all dependencies in both ways, for each duration.
func outages(durations ...time.Duration) (all []Outage) {
	for _, d := range durations {
		for _, hangs := range []bool{false, true} {
			all = append(all, Outage{Part: TheBroker, Hangs: hangs, For: d})
			for _, app := range apps {
				for _, part := range []Part{TheStore, TheProgram, TheSidecar} {
					all = append(all, Outage{Part: part, App: app, Hangs: hangs, For: d})
				}
			}
		}
	}
	return all
}

const (
	// leastTaken is the longest that the first milliseconds of an order take, in which an outage begins.
	leastTaken = 20 * time.Millisecond
	// recoveryLimit is how long after an outage every order that it held up has to have ended.
	recoveryLimit = 45 * time.Second
)

// plan has the outage begin once enough orders were accepted.
func (w *World) planOutage() {
	o := w.faults.Outage
	if o.For == 0 {
		return
	}
	w.away = true
	var look func()
	look = func() {
		if w.count("orders", "order/") >= o.Orders {
			w.after(w.between(0, leastTaken), o.String()+" begins", w.beginOutage)
			return
		}
		w.after(leastTaken, "no outage yet", look)
	}
	look()
}

func (w *World) count(app, prefix string) int {
	n := 0
	for key := range w.stores[app].records {
		if strings.HasPrefix(key, prefix) {
			n++
		}
	}
	return n
}

func (w *World) beginOutage() {
	o := w.faults.Outage
	w.fired[o.String()]++
	w.note("! outage: " + o.String())
	w.setOutage(true)
	w.after(o.For, o.String()+" ends", func() {
		w.setOutage(false)
		w.note("! the outage has ended")
		w.away = false
		w.timeRecovery()
	})
}

// setOutage takes the dependency away, or brings it back.
func (w *World) setOutage(away bool) {
	o := w.faults.Outage
	switch {
	case o.Part == TheBroker && o.Hangs:
		w.broker.hung = away
	case o.Part == TheBroker:
		w.broker.down = away
	case o.Part == TheStore && o.Hangs:
		w.stores[o.App].hung = away
	case o.Part == TheStore:
		w.stores[o.App].down = away
	}
	if o.Part == TheBroker && !away {
		w.broker.back()
	}
	for _, r := range w.replicas {
		if r.app != o.App {
			continue
		}
		switch {
		case o.Part == TheProgram && o.Hangs, o.Part == TheSidecar && o.Hangs:
			r.freeze(o.Part, away)
		case o.Part == TheProgram:
			r.stopped = away
			if away {
				w.crash(r)
			} else {
				w.start(r)
			}
		case o.Part == TheSidecar:
			r.sidecar.stopped = away
			if away {
				w.crashSidecar(r)
			} else {
				w.startSidecar(r)
			}
		}
	}
}

// freeze stops a program or its sidecar where it is, or lets it go on. What came to it meanwhile is handled then, late.
func (r *replica) freeze(part Part, frozen bool) {
	if r.frozen = ""; frozen {
		r.frozen = part
		return
	}
	held := r.held
	r.held = nil
	for _, do := range held {
		r.world.after(r.world.latency(), r.String()+" goes on", do)
	}
}

// timeRecovery measures how long the orders that an outage held up take to end.
func (w *World) timeRecovery() {
	ended, open := w.now(), w.unfinished()
	w.held = len(open)
	var look func()
	look = func() {
		left := w.unfinished()
		open = slices.DeleteFunc(open, func(key string) bool { return !slices.Contains(left, key) })
		if len(open) == 0 {
			w.recovered = w.now().Sub(ended)
			return
		}
		if w.now().Sub(ended) > recoveryLimit {
			w.late = fmt.Sprintf("%d of the %d orders that %s held up have not ended %s after it: %v", len(open), w.held, w.faults.Outage, recoveryLimit, open)
			return
		}
		w.after(100*time.Millisecond, "recovering", look)
	}
	look()
}

// unfinished are the keys of the orders that have not ended.
func (w *World) unfinished() (keys []string) {
	w.every("orders", "order/", func(key string, d stored) bool {
		if !slices.Contains(endedStatuses, d.Status) {
			keys = append(keys, key)
		}
		return true
	})
	return keys
}
