package harness

import (
	"context"
	"slices"
	"strings"
	"time"
)

// outages makes every dependency unavailable for a set time: the servers, every program and every sidecar.
func outages() campaign {
	return campaign{
		name:    "outages",
		summary: "each service, sidecar, broker and store down for a while, then unresponsive for as long: every order ends, none by its deadline",
		complete: func(o Options) Options {
			o = common(o)
			o.Hold, o.Rate = or(o.Hold, 20*time.Second), or(o.Rate, 8)
			return o
		},
		plan: planOutages,
		run:  runOutages,
	}
}

func planOutages(o Options) Plan { return Plan{Each: o.Hold, Processes: o.Processes} }

func runOutages(ctx context.Context, r *run) error {
	schedule := r.schedule(planOutages(r.Options))
	if err := r.open(ctx, shopSize{customers: r.Customers, products: 20, cents: 1_000_000_00}); err != nil {
		return err
	}
	last := schedule[len(schedule)-1]
	end := last.At + last.Hold + beside
	orders := or(r.Orders, int(r.Rate*end.Seconds()))
	load := &load{shop: r.shop, seed: r.Seed, orders: orders, rate: float64(orders) / end.Seconds(), mix: shopping, giveUp: 30 * time.Second}
	r.under(ctx, schedule, load.run)
	s := r.settle(ctx)
	for id, order := range s.orders {
		if order.Reason == "deadline" {
			r.findings.add("no outage lasts until the deadline of an order", id, "it was %s by its deadline", order.Status)
		}
	}
	return nil
}

const (
	// lanes is how many outages run at once. They affect different services.
	lanes = 4
	// beside is the time between the outages of one lane, in which delayed orders continue.
	beside = 3 * time.Second
)

// outages is a schedule in which each process is down once and hung once.
func (p Plan) outages() []Event {
	processes := p.Processes
	if len(processes) == 0 {
		processes = slices.DeleteFunc(p.Targets.processes(), func(name string) bool { return strings.HasPrefix(name, "gateway") })
	}
	var events []Event
	for _, kind := range []Kind{Kill, Freeze} {
		for _, name := range processes {
			n := len(events)
			events = append(events, Event{
				Number: n + 1, At: time.Second + time.Duration(n/lanes)*(p.Each+beside), Kind: kind, Targets: []string{name}, Hold: p.Each,
			})
		}
	}
	return events
}
