package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Part is a kind of dependency of programs.
type Part string

// The parts of a world. There is one broker. Each service has a store, a program and a sidecar.
const (
	TheBroker  Part = "broker"
	TheStore   Part = "store"
	TheProgram Part = "program"
	TheSidecar Part = "sidecar"
)

// Outage is one dependency that is unavailable for a while.
type Outage struct {
	Part Part
	// App is the service that the part belongs to; empty for the broker.
	App string
	// Hangs means that it accepts requests and answers none. Otherwise it refuses them.
	Hangs bool
	// Orders is how many orders must be accepted before it begins, a few milliseconds later, so that it meets orders in
	// different states.
	Orders int
	// For is how long it lasts; 0 for no outage.
	For time.Duration
}

// String is its name, which contains no space.
func (o Outage) String() string {
	how := "down"
	if o.Hangs {
		how = "hung"
	}
	return strings.Join(slices.DeleteFunc([]string{o.App, string(o.Part), how, o.For.String()}, func(s string) bool { return s == "" }), "-")
}

// outages are the outages of all dependencies, refused and hung, for each duration.
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
	// leastTaken is less than an order takes. An outage begins within this time after the order was accepted.
	leastTaken = 20 * time.Millisecond
	// recoveryLimit is how long after an outage all orders that it delayed must have ended.
	recoveryLimit = 45 * time.Second
)

// planOutage makes the outage begin when enough orders were accepted.
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

// setOutage makes the dependency unavailable, or available again.
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

// freeze pauses or continues a program or its sidecar. It handles late what arrived during the pause.
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

// timeRecovery measures how long the orders that an outage delayed take to end.
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
