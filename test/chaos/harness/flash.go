package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"caravan/internal/id"
)

// flash is a repeated sale of few units to many concurrent buyers. In each round a sidecar is killed. Exactly the
// available units must be sold.
func flash() campaign {
	return campaign{
		name:    "flash",
		summary: "many buyers for few units at once, with a sidecar killed in every round: exactly the stock is sold",
		complete: func(o Options) Options {
			o = common(o)
			o.Rounds, o.Buyers, o.Units = or(o.Rounds, 5), or(o.Buyers, 200), or(o.Units, 50)
			o.Customers = min(o.Buyers, or(o.Customers, 50))
			return o
		},
		plan: planFlash,
		run:  runFlash,
	}
}

// planFlash kills one sidecar in each round, at some time after its beginning. An order passes four sidecars.
func planFlash(o Options) Plan {
	return Plan{
		Kills: o.Rounds, Gap: 400 * time.Millisecond, Kinds: []Kind{Kill},
		Processes: []string{"orders-daprd", "products-daprd", "payments-daprd", "gateway-daprd"},
	}
}

func runFlash(ctx context.Context, r *run) error {
	schedule := r.schedule(planFlash(r.Options))
	random := rand.New(rand.NewPCG(r.Seed, 1))
	for i := range schedule {
		// The times are relative to the round, not to the run.
		schedule[i].At = time.Duration(random.Int64N(int64(time.Second)))
	}
	if err := r.open(ctx, shopSize{customers: r.Customers, products: 0, cents: 1_000_000_00}); err != nil {
		return err
	}
	telling, quiet := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { r.tell(telling) })
	var failed error
	for round := 0; round < r.Rounds && ctx.Err() == nil && failed == nil; round++ {
		failed = r.sale(ctx, round, schedule[round:min(round+1, len(schedule))])
	}
	quiet()
	beside.Wait()
	if failed != nil {
		return failed
	}
	r.report.Seconds = time.Since(r.began).Seconds()
	s := r.settle(ctx)
	r.countSales(s)
	return nil
}

// sale offers the units of a new product, and all buyers buy one at once.
func (r *run) sale(ctx context.Context, round int, fault []Event) error {
	p := &product{sku: fmt.Sprintf("FLASH-%s-%03d", r.shop.name, round), price: 500, stock: int64(r.Units)}
	if err := r.shop.create(ctx, p); err != nil {
		return fmt.Errorf("making the product of round %d: %w", round, err)
	}
	r.shop.products = append(r.shop.products, p)
	var all sync.WaitGroup
	all.Go(func() { r.injector.run(ctx, fault) })
	for n := range r.Buyers {
		c := r.shop.customers[n%len(r.shop.customers)]
		all.Go(func() {
			op := r.shop.log.begin("order", c.number, id.Random{}.New(), orderRequest{p.sku: 1})
			_ = op.persist(ctx, time.Minute, r.shop.requestOf(op))
		})
	}
	all.Wait()
	return nil
}

// countSales checks that each round sold exactly the available units.
func (r *run) countSales(s *settler) {
	sold, total := s.sold(), int64(0)
	for _, p := range r.shop.products {
		total += sold[p.sku]
		if want := min(p.stock, int64(r.Buyers)); sold[p.sku] != want {
			r.findings.add("everything on sale is sold, and no more", p.sku, "%d units sold, want %d", sold[p.sku], want)
		}
	}
	r.report.Numbers["units sold"] = float64(total)
	r.report.Numbers["units on sale"] = float64(len(r.shop.products) * r.Units)
}
