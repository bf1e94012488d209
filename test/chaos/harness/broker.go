package harness

import (
	"context"
	"fmt"
	"time"
)

// broker kills and restarts the broker under load.
func broker() campaign {
	return campaign{
		name:    "broker",
		summary: "the broker killed and restarted again and again under load: no event is lost or delivered twice",
		complete: func(o Options) Options {
			o = common(o)
			o.Kills, o.Gap, o.Rate = or(o.Kills, 10), or(o.Gap, 8*time.Second), or(o.Rate, 8)
			return o
		},
		plan: planBroker,
		run:  runBroker,
	}
}

func planBroker(o Options) Plan {
	return Plan{Kills: o.Kills, Gap: o.Gap, Steady: true, Kinds: []Kind{Kill}, Processes: []string{"broker"}}
}

func runBroker(ctx context.Context, r *run) error {
	if len(r.system.targets.Servers) == 0 {
		return fmt.Errorf("the broker is not the stack's own, so it cannot be killed")
	}
	schedule := r.schedule(planBroker(r.Options))
	if err := r.open(ctx, shopSize{customers: r.Customers, products: 20, cents: 1_000_000_00}); err != nil {
		return err
	}
	last := schedule[len(schedule)-1].At + 5*time.Second
	orders := or(r.Orders, int(r.Rate*last.Seconds()))
	load := &load{shop: r.shop, seed: r.Seed, orders: orders, rate: float64(orders) / last.Seconds(), mix: shopping, giveUp: 30 * time.Second}
	r.under(ctx, schedule, load.run)
	s := r.settle(ctx)
	events := 0
	for user, orders := range s.ordersOfUsers() {
		for _, n := range expectedNotices(fmt.Sprint(user), 0, orders) {
			events += n
		}
	}
	r.report.Numbers["events delivered"] = float64(events)
	return nil
}
