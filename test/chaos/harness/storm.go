package harness

import (
	"context"
	"time"
)

// storm places orders during kill -9 and all other faults.
func storm() campaign {
	return campaign{
		name:    "storm",
		summary: "orders while services, sidecars, gateway and broker are killed and connections break",
		complete: func(o Options) Options {
			o = common(o)
			o.Gap = or(o.Gap, 1500*time.Millisecond)
			o.Rate = or(o.Rate, 8)
			if len(o.Faults) == 0 {
				o.Faults = Kinds()
			}
			o.Orders = or(o.Orders, int(o.Rate*o.Minutes*60))
			return o
		},
		plan: func(o Options) Plan {
			return Plan{Duration: time.Duration(o.Minutes * float64(time.Minute)), Kills: o.Kills, Gap: o.Gap, Kinds: o.Faults}
		},
		run: runStorm,
	}
}

func runStorm(ctx context.Context, r *run) error {
	schedule := r.schedule(storm().plan(r.Options))
	if err := r.open(ctx, shopSize{customers: r.Customers, products: 20, scarce: 3, cents: 1_000_000_00}); err != nil {
		return err
	}
	load := &load{shop: r.shop, seed: r.Seed, orders: r.Orders, rate: r.Rate, mix: shopping, giveUp: 30 * time.Second}
	if n := len(schedule); n > 0 && r.Kills > 0 {
		// The orders are distributed over the whole schedule.
		load.rate = max(1, float64(r.Orders)/schedule[n-1].At.Seconds())
	}
	r.under(ctx, schedule, load.run)
	r.report.Numbers["arrivals that found no free client"] = float64(load.skipped.Load())
	r.settle(ctx)
	return nil
}
