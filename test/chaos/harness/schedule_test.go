package harness

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func someTargets() Targets {
	return Targets{
		Programs: []string{"gateway", "orders", "payments"}, Sidecars: []string{"gateway-daprd", "orders-daprd", "payments-daprd"},
		Servers: []string{"broker"}, Connections: []string{"orders:broker", "payments:broker"}, Broker: true, Disk: true,
	}
}

// TestScheduleIsRepeatable: every plan always makes the same schedule. Its faults are in order, within the duration,
// and affect known targets. No target is affected again while it is down.
func TestScheduleIsRepeatable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plan := Plan{
			Seed: rapid.Uint64().Draw(t, "seed"), Duration: time.Duration(rapid.IntRange(1, 600).Draw(t, "seconds")) * time.Second,
			Gap:   time.Duration(rapid.IntRange(100, 5000).Draw(t, "gap")) * time.Millisecond,
			Kinds: rapid.SliceOfNDistinct(rapid.SampledFrom(Kinds()), 1, len(Kinds()), rapid.ID[Kind]).Draw(t, "kinds"), Targets: someTargets(),
		}
		schedule := plan.Schedule()
		if again := plan.Schedule(); !reflect.DeepEqual(schedule, again) {
			t.Fatalf("two schedules of %+v differ", plan)
		}
		free := make(map[string]time.Duration)
		for i, event := range schedule {
			if event.Number != i+1 || event.At >= plan.Duration || i > 0 && event.At < schedule[i-1].At {
				t.Fatalf("event %d is %+v", i, event)
			}
			if !slices.Contains(plan.Kinds, event.Kind) || len(event.Targets) == 0 {
				t.Fatalf("event %+v was not asked for", event)
			}
			for _, target := range event.Targets {
				if event.Kind != All && free[target] > event.At {
					t.Fatalf("%s hits %s at %s, which is down until %s", event, target, event.At, free[target])
				}
				free[target] = event.At + event.Hold
			}
		}
	})
}

func TestScheduleGoesOnUntilItsKills(t *testing.T) {
	schedule := Plan{Seed: 1, Kills: 1000, Gap: time.Second, Kinds: Kinds(), Targets: someTargets()}.Schedule()
	kills := 0
	for _, event := range schedule {
		kills += event.Kills()
	}
	if kills < 1000 || kills-schedule[len(schedule)-1].Kills() >= 1000 {
		t.Errorf("%d kills", kills)
	}
	if other := (Plan{Seed: 2, Kills: 1000, Gap: time.Second, Kinds: Kinds(), Targets: someTargets()}).Schedule(); reflect.DeepEqual(schedule, other) {
		t.Error("another seed makes the same schedule")
	}
}

func TestWhatTargetsLackIsLeftOut(t *testing.T) {
	bare := Targets{Programs: []string{"orders"}, Sidecars: []string{"orders-daprd"}}
	plan := Plan{Seed: 3, Duration: 10 * time.Minute, Gap: time.Second, Kinds: Kinds(), Targets: bare}
	for _, event := range plan.Schedule() {
		if why := bare.Missing(event.Kind); why != "" {
			t.Errorf("%s is scheduled although %s", event, why)
		}
	}
	for _, kind := range []Kind{Memory, StopApp, Cut, Truncate, FullDisk} {
		if bare.Missing(kind) == "" || someTargets().Missing(kind) != "" {
			t.Errorf("%s: %q and %q", kind, bare.Missing(kind), someTargets().Missing(kind))
		}
	}
}

func TestTargetsAreSorted(t *testing.T) {
	got := sortTargets([]string{"store", "broker-epmd", "broker", "orders-2-daprd", "orders", "orders-2", "gateway"})
	want := Targets{Servers: []string{"broker", "store"}, Sidecars: []string{"orders-2-daprd"}, Programs: []string{"gateway", "orders", "orders-2"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestEventsAreLabelled(t *testing.T) {
	label := Event{Number: 4, Kind: Slow, Targets: []string{"orders:broker"}, Hold: 1500 * time.Millisecond, Amount: 70}.String()
	for _, want := range []string{"#4", "slow", "orders:broker", "70 ms", "1.5s"} {
		if !strings.Contains(label, want) {
			t.Errorf("label %q lacks %q", label, want)
		}
	}
}

// TestOutagesTakeEachDependencyAwayOnce counts the outages of every process in a schedule.
func TestOutagesTakeEachDependencyAwayOnce(t *testing.T) {
	targets := Targets{Programs: []string{"gateway", "orders"}, Sidecars: []string{"gateway-daprd", "orders-daprd"}, Servers: []string{"broker", "store"}}
	met := make(map[string]int)
	for _, e := range (Plan{Each: 5 * time.Second, Targets: targets}).Schedule() {
		if e.Hold != 5*time.Second || len(e.Targets) != 1 {
			t.Errorf("%s", e)
		}
		met[string(e.Kind)+" "+e.Targets[0]]++
	}
	for _, name := range []string{"orders", "orders-daprd", "broker", "store"} {
		if met["kill "+name] != 1 || met["freeze "+name] != 1 {
			t.Errorf("%s is met by %v", name, met)
		}
	}
	if len(met) != 8 {
		t.Errorf("the schedule meets %v", met)
	}
}
