package harness

import (
	"context"
	"slices"
	"sync"
	"time"
)

// rolling restarts everything in an orderly way, one after another, under load.
func rolling() campaign {
	return campaign{
		name:     "rolling",
		summary:  "two replicas of every service; each is restarted in order under load: not one checkout fails",
		replicas: 2,
		complete: func(o Options) Options {
			o = common(o)
			o.Rounds, o.Rate = or(o.Rounds, 1), or(o.Rate, 10)
			return o
		},
		run: runRolling,
	}
}

func runRolling(ctx context.Context, r *run) error {
	if err := r.open(ctx, shopSize{customers: r.Customers, products: 20, cents: 1_000_000_00}); err != nil {
		return err
	}
	const endless = 1 << 30
	done := make(chan struct{})
	load := &load{shop: r.shop, seed: r.Seed, orders: endless, rate: r.Rate, mix: shopping, giveUp: 30 * time.Second, done: done}
	r.under(ctx, nil, func(ctx context.Context) {
		var both sync.WaitGroup
		both.Go(func() { load.run(ctx) })
		both.Go(func() {
			defer close(done)
			r.restartAll(ctx)
		})
		both.Wait()
	})
	r.settle(ctx)
	r.countFailures()
	return nil
}

// restartAll restarts every replica of every app, one after the other. It restarts program and sidecar together, as a
// deployment does.
func (r *run) restartAll(ctx context.Context) {
	pause(ctx, 2*time.Second)
	for range r.Rounds {
		for _, name := range r.system.targets.Programs {
			if ctx.Err() != nil {
				return
			}
			event := Event{Number: len(r.report.Schedule) + 1, At: time.Since(r.began), Kind: Restart, Targets: []string{name}}
			r.report.Schedule = append(r.report.Schedule, event)
			r.injector.roll(ctx, event)
			r.say("%6s  %s has been restarted", time.Since(r.began).Round(time.Second), name)
		}
	}
}

// countFailures reports every failed attempt of a checkout as a violation. If a gateway accepted no connection and the
// balancer used another one, the request was never sent before. That is no failure and is counted separately.
func (r *run) countFailures() {
	failed := 0
	for _, op := range r.shop.log.of("order") {
		op.mu.Lock()
		bad := slices.IndexFunc(op.Attempts, func(a Attempt) bool { return a.Error != "" })
		switch {
		case op.Outcome != Acknowledged || len(op.Attempts) == 0 || op.Attempts[len(op.Attempts)-1].Error != "":
			r.findings.add("no checkout fails", op.Key, "%v", op.Attempts)
			failed++
		case bad >= 0:
			r.report.Numbers["checkouts that needed a repeat"]++
		}
		op.mu.Unlock()
	}
	r.report.Numbers["failed checkouts"] = float64(failed)
	r.report.Numbers["failed attempts"] = float64(r.report.Requests.Failed)
	r.report.Numbers["requests sent to another gateway"] = float64(r.shop.balancer.passed.Load())
}
