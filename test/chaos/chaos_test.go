// Package chaos runs a small form of every chaos campaign on real stacks. The engine is test/chaos/harness, and "go run
// ./dapr chaos" runs the same campaigns at any size.
//
// CARAVAN_CHAOS_BROKER and CARAVAN_CHAOS_STORE choose broker and store. CARAVAN_CHAOS_SEED is the seed; without it each
// run has a new one, so that CI sees more than one schedule, and a failure prints it. CARAVAN_CHAOS_SIZE is how many
// times larger everything is. CARAVAN_DAPRD names a sidecar.
package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/infra"
	"caravan/test/chaos/harness"
	"caravan/test/stacktest"
)

// settings come from the environment.
var settings = struct{ broker, store, daprd, seed, size, keep string }{
	broker: cmp.Or(stacktest.Take("CARAVAN_CHAOS_BROKER"), "rabbitmq"),
	store:  cmp.Or(stacktest.Take("CARAVAN_CHAOS_STORE"), "sqlite"),
	daprd:  stacktest.Take("CARAVAN_DAPRD"),
	seed:   stacktest.Take("CARAVAN_CHAOS_SEED"),
	size:   cmp.Or(stacktest.Take("CARAVAN_CHAOS_SIZE"), "1"),
	keep:   stacktest.Take("CARAVAN_CHAOS_KEEP"),
}

// common is the stack that all campaigns without replicas share.
var common struct {
	once   sync.Once
	system *harness.System
	stop   func()
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if common.stop != nil {
		common.stop()
	}
	os.Exit(code)
}

// start starts a stack in its own folder.
func start(replicas int) (system *harness.System, stop func(), err error) {
	return startOn(settings.store, replicas)
}

// startOn is start with a given store.
func startOn(store string, replicas int) (system *harness.System, stop func(), err error) {
	dir, err := os.MkdirTemp("", "caravan-chaos-*")
	if err != nil {
		return nil, nil, fmt.Errorf("making the stack's folder: %w", err)
	}
	// A database server that does not run as root needs access.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, nil, fmt.Errorf("opening the stack's folder: %w", err)
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return nil, nil, fmt.Errorf("finding the repository: %w", err)
	}
	discard := func() {
		if settings.keep != "" {
			fmt.Fprintln(os.Stderr, "kept", dir)
			return
		}
		_ = os.RemoveAll(dir)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute) // the first run builds daprd
	defer cancel()
	system, err = harness.Start(ctx, harness.StackOptions{
		Root: root, Dir: dir, Broker: settings.broker, Store: store, Daprd: settings.daprd, Replicas: replicas, Quick: true, EagerPublishers: true,
	})
	if err != nil {
		discard()
		return nil, nil, err
	}
	return system, func() { system.Close(); discard() }, nil
}

func shared(t *testing.T) *harness.System {
	t.Helper()
	common.once.Do(func() { common.system, common.stop, common.err = start(1) })
	usable(t, common.err)
	return common.system
}

// usable skips the test if the stack could not start because a server is missing.
func usable(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, infra.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// skipShort skips the test if tests that start processes are not wanted.
func skipShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
}

// seed is the given seed, or a new one.
func seed(t *testing.T) uint64 {
	t.Helper()
	if settings.seed == "" {
		return uint64(time.Now().UnixNano() % 1_000_000_007)
	}
	n, err := strconv.ParseUint(settings.seed, 10, 64)
	if err != nil {
		t.Fatalf("CARAVAN_CHAOS_SEED: %v", err)
	}
	return n
}

func size(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(settings.size)
	if err != nil || n < 1 {
		t.Fatalf("CARAVAN_CHAOS_SIZE is %q, want a number from 1", settings.size)
	}
	return n
}

// testLog writes lines into a test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(raw []byte) (int, error) {
	l.t.Log(string(raw))
	return len(raw), nil
}

// run runs a campaign and reports every violation as a failure.
func run(t *testing.T, system *harness.System, o harness.Options) *harness.Report {
	t.Helper()
	o.Seed, o.Out, o.Progress = seed(t), testLog{t}, 10*time.Second
	o.Deadline = cmp.Or(o.Deadline, 3*time.Minute)
	o.Command = fmt.Sprintf("CARAVAN_CHAOS_SEED=%d go test ./test/chaos -run %s", o.Seed, t.Name())
	report, err := system.Run(t.Context(), o)
	if errors.Is(err, launcher.ErrNoFault) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range report.Violations {
		t.Errorf("seed %d: %s", o.Seed, v)
	}
	for _, fault := range report.Faults {
		if fault.Error != "" {
			t.Errorf("seed %d: %s: %s", o.Seed, fault.Label, fault.Error)
		}
	}
	if report.Orders["acknowledged"] == 0 {
		t.Error("no order was acknowledged: the run proves nothing")
	}
	return report
}

// TestStorm: clients place orders during all kinds of faults.
func TestStorm(t *testing.T) {
	skipShort(t)
	report := run(t, shared(t), harness.Options{Campaign: "storm", Minutes: 0.5 * float64(size(t)), Rate: 5})
	if len(report.Kills) == 0 {
		t.Error("nothing was killed: the run proves nothing")
	}
}

// TestConfirms: the broker's confirmations are cut, and events are lost with them.
func TestConfirms(t *testing.T) {
	skipShort(t)
	run(t, shared(t), harness.Options{Campaign: "confirms", Orders: 100 * size(t), Rate: 6})
}

// TestBroker: the broker is killed repeatedly.
func TestBroker(t *testing.T) {
	skipShort(t)
	kills := 2 * size(t)
	report := run(t, shared(t), harness.Options{Campaign: "broker", Kills: kills, Gap: 6 * time.Second, Rate: 5})
	if report.Kills["broker"] != kills {
		t.Errorf("the broker was killed %d times, want %d", report.Kills["broker"], kills)
	}
}

// TestFlash: more buyers than units, and a sidecar killed in each round.
func TestFlash(t *testing.T) {
	skipShort(t)
	rounds := 2 * size(t)
	report := run(t, shared(t), harness.Options{Campaign: "flash", Rounds: rounds, Buyers: 60, Units: 20})
	if report.Numbers["units sold"] != float64(20*rounds) {
		t.Errorf("%v units sold, want %d", report.Numbers["units sold"], 20*rounds)
	}
}

// TestKeys: every key is posted many times at once.
func TestKeys(t *testing.T) {
	skipShort(t)
	keys := 15 * size(t)
	report := run(t, shared(t), harness.Options{Campaign: "keys", Keys: keys, Posts: 20})
	if report.Numbers["effects"] != float64(keys) {
		t.Errorf("%v effects of %d keys", report.Numbers["effects"], keys)
	}
}

// TestSoak takes samples during faults. To see whether something grows takes longer: use CARAVAN_CHAOS_SIZE=20.
func TestSoak(t *testing.T) {
	skipShort(t)
	report := run(t, shared(t), harness.Options{Campaign: "soak", Minutes: 0.4 * float64(size(t)), Gap: 8 * time.Second, Rate: 4})
	if report.Numbers["samples"] == 0 {
		t.Error("no samples were taken")
	}
}

// TestOutages: each dependency is down and hung for 5 s, and those that an order needs for 20 s. The store is a server,
// so that it can be unavailable too. The simulation has longer outages (test/sim).
func TestOutages(t *testing.T) {
	skipShort(t)
	system, stop, err := startOn("redis", 1)
	usable(t, err)
	t.Cleanup(stop)
	const soon = 90 * time.Second // after the last outage; a step waits at most 10 s
	run(t, system, harness.Options{Campaign: "outages", Hold: 5 * time.Second, Rate: 4, Deadline: soon})
	run(t, system, harness.Options{Campaign: "outages", Hold: 20 * time.Second, Rate: 4, Deadline: soon,
		Processes: []string{"broker", "store", "payments"}})
}

// TestRolling: every replica is restarted in order, and no checkout fails.
func TestRolling(t *testing.T) {
	skipShort(t)
	system, stop, err := start(2)
	usable(t, err)
	t.Cleanup(stop)
	run(t, system, harness.Options{Campaign: "rolling", Rounds: size(t), Rate: 5})
}
