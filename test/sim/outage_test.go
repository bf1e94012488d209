package sim

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

var outageSeeds = flag.Int("sim.outages", 1, "how many seeds to run each cell of the outage matrix with")

// matrix is every dependency, down and hung, for each duration.
func matrix() []Outage {
	return outages(5*time.Second, 20*time.Second, time.Minute, 10*time.Minute)
}

// TestOutages makes each dependency unavailable for each duration, while orders are in progress. Every accepted order
// has to end soon after the outage, and not by its deadline. Money, stock and events have to be right.
func TestOutages(t *testing.T) {
	cells := matrix()
	if *only != 0 {
		examine(t, outagePlan(*only, t.TempDir()))
		return
	}
	if !*share {
		shareOut(t, "TestOutages", *outageSeeds*len(cells))
		return
	}
	keys := t.TempDir()
	slowest, held, orders := make(map[time.Duration]time.Duration), make(map[time.Duration]int), 0
	for n := range *seeds {
		seed := *first + uint64(n)
		plan := outagePlan(seed, keys)
		o := plan.Faults.Outage
		result := Run(t, plan)
		report(t, fmt.Sprintf("-run TestOutages -sim.seed=%d (%s)", seed, o), result)
		if result.Fired[o.String()] == 0 {
			t.Errorf("%s never began", o)
		}
		slowest[o.For], held[o.For], orders = max(slowest[o.For], result.Recovered), held[o.For]+result.Held, orders+result.Orders
	}
	for _, d := range slices.Sorted(maps.Keys(slowest)) {
		t.Logf("outages of %s held up %d orders, which ended within %s after it", d, held[d], slowest[d].Round(100*time.Millisecond))
	}
	t.Logf("%d outages, %d orders", *seeds, orders)
}

// TestAnOutageBeyondTheDeadlineIsSeen: an outage longer than the deadline of orders ends them, which the matrix notices.
func TestAnOutageBeyondTheDeadlineIsSeen(t *testing.T) {
	plan := outagePlan(1, t.TempDir())
	plan.Faults.Outage = Outage{Part: TheStore, App: "payments", Orders: 3, For: 20 * time.Minute}
	result := Run(t, plan)
	if !slices.ContainsFunc(result.Violations, func(v string) bool { return strings.Contains(v, "by its deadline") }) {
		t.Errorf("nobody saw that orders ended by their deadline: %v", result.Violations)
	}
}

// outagePlan is the run of a cell of the matrix. After the last cell, seeds repeat the cells with other chances.
func outagePlan(seed uint64, keys string) Plan {
	cells := matrix()
	o := cells[int(seed-1)%len(cells)]
	o.Orders = 2 + int(seed)%5
	return Plan{Seed: seed, Faults: Faults{Kind: Kind(seed % 3), Outage: o},
		Size: Size{Products: 2, Customers: 3, Orders: 6, Stock: 100, Pause: o.For / 4}, Keys: keys, Log: silent()}
}
