package sim

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seeds  = flag.Int("sim.seeds", 2000, "how many seeds to run")
	first  = flag.Uint64("sim.first", 1, "the first seed")
	only   = flag.Uint64("sim.seed", 0, "run this seed only, show its logs and keep its trace")
	points = flag.String("sim.points", "", "run a checkout that crashes at these points only, as b12,a40: before the 12th touch and after the 40th")
	total  = flag.Bool("sim.total", false, "with -sim.points: the order names its total")
	pairs  = flag.Int("sim.pairs", 400, "how many pairs of crash points to run; -1 for all")
	share  = flag.Bool("sim.share", false, "run in this process, as a part of a larger run")
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Package problem logs the failures of requests, which are normal here.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	runtime.GOMAXPROCS(1) // one thread only, so that a seed is enough to repeat a run
	os.Exit(m.Run())
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestSeeds runs whole shops under random faults, each from one seed. One run needs one processor, so as many processes
// as there are processors share the work.
func TestSeeds(t *testing.T) {
	if *only != 0 {
		examine(t, Seeded(*only, t.TempDir(), slog.New(slog.NewJSONHandler(os.Stderr, nil))))
		return
	}
	if !*share {
		shareOut(t, "TestSeeds", *seeds)
		return
	}
	keys := t.TempDir()
	fired := make(map[string]int)
	orders := 0
	for n := range *seeds {
		seed := *first + uint64(n)
		result := Run(t, Seeded(seed, keys, silent()))
		report(t, fmt.Sprintf("-run TestSeeds -sim.seed=%d", seed), result)
		orders += result.Orders
		for kind, n := range result.Fired {
			fired[kind] += n
		}
		if done := n + 1; done%progressEach == 0 && done < *seeds {
			fmt.Fprintf(os.Stderr, "%s: %d of the %d seeds from %d are done, failed: %t\n", time.Now().Format(time.TimeOnly), done, *seeds, *first, t.Failed())
		}
	}
	t.Logf("%d seeds from %d: %d orders; faults: %v", *seeds, *first, orders, fired)
}

// progressEach is after how many seeds a long run reports its progress.
const progressEach = 2000

// report fails the test for each violation and says how to repeat the run.
func report(t *testing.T, again string, result Result) {
	t.Helper()
	if len(result.Violations) == 0 {
		return
	}
	t.Errorf("%s\n\t%s\n\trun it again: go test ./test/sim -v %s", strings.Join(result.Violations, "\n\t"), result, again)
}

// examine runs one plan and keeps its trace.
func examine(t *testing.T, plan Plan) {
	t.Helper()
	t.Logf("faults: %+v", plan.Faults)
	plan.Whole = true
	result := Run(t, plan)
	path := filepath.Join(os.TempDir(), fmt.Sprintf("sim-%d.trace", plan.Seed))
	if err := os.WriteFile(path, []byte(lines(result.Trace, "\n")+"\n"), 0o644); err != nil {
		t.Error(err)
	}
	t.Logf("%s; digest %x; the trace is in %s", result, result.Digest, path)
	for _, violation := range result.Violations {
		t.Error(violation)
	}
}

// lines are a part of a trace.
func lines(trace []Noted, between string) string {
	said := make([]string, len(trace))
	for i, n := range trace {
		said[i] = n.String()
	}
	return strings.Join(said, between)
}

// shareOut runs a test of this package in several processes. Each does its part of n runs.
func shareOut(t *testing.T, test string, n int, args ...string) {
	t.Helper()
	began := time.Now()
	workers := min(runtime.NumCPU(), n)
	output := make([][]byte, workers)
	failures := make([]error, workers)
	var all sync.WaitGroup
	for i := range workers {
		from, to := n*i/workers, n*(i+1)/workers
		all.Go(func() {
			command := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-test.run=^" + test + "$", "-test.v", "-test.timeout=0", "-sim.share",
				fmt.Sprintf("-sim.first=%d", *first+uint64(from)), fmt.Sprintf("-sim.seeds=%d", to-from)}, args...)...)
			var out, progress bytes.Buffer
			command.Stdout, command.Stderr = &out, io.MultiWriter(&progress, os.Stderr)
			failures[i] = command.Run()
			output[i] = append(out.Bytes(), progress.Bytes()...) // it contains the report of a panic
		})
	}
	all.Wait()
	for i, raw := range output {
		if failures[i] != nil {
			t.Errorf("process %d: %v\n%s", i+1, failures[i], raw)
			continue
		}
		for line := range strings.Lines(string(raw)) {
			if strings.Contains(line, "_test.go") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
	t.Logf("%d runs in %d processes took %s", n, workers, time.Since(began).Round(time.Second))
}

// TestCrashAtEachPoint crashes a program before and after each call to the outside in a whole checkout: registration,
// login, deposit, order, confirmation and notice. It does so for an order that names its total and for one that does not.
func TestCrashAtEachPoint(t *testing.T) {
	keys := t.TempDir()
	if *points != "" {
		plan := checkout(keys, *total, parsePoints(t, *points)...)
		plan.Log = slog.New(slog.NewJSONHandler(os.Stderr, nil))
		examine(t, plan)
		return
	}
	for _, total := range []bool{false, true} {
		undisturbed := Run(t, checkout(keys, total))
		report(t, fmt.Sprintf("-run TestCrashAtEachPoint -sim.total=%v", total), undisturbed)
		for n := 1; n <= undisturbed.Boundaries; n++ {
			for _, phase := range []Phase{Before, After} {
				tryPoints(t, keys, total, CrashPoint{n, phase})
			}
		}
		t.Logf("%d touches of the outside, with a crash before and after each", undisturbed.Boundaries)
	}
}

func checkout(keys string, total bool, points ...CrashPoint) Plan {
	plan := Checkout(keys, silent(), points...)
	if total {
		plan.Size.Totals = 1
	}
	return plan
}

// TestCrashAtTwoPoints crashes at pairs of points: the second crash comes during the recovery from the first.
func TestCrashAtTwoPoints(t *testing.T) {
	keys := t.TempDir()
	n := Run(t, checkout(keys, true)).Boundaries
	all := 4 * n * (n - 1) / 2
	if *pairs < 0 || *pairs >= all {
		for a := 1; a <= n; a++ {
			for b := a + 1; b <= n; b++ {
				for phases := range 4 {
					tryPoints(t, keys, true, CrashPoint{a, Phase(phases / 2)}, CrashPoint{b, Phase(phases % 2)})
				}
			}
		}
		t.Logf("all %d pairs", all)
		return
	}
	rng := rand.New(rand.NewPCG(*first, 2))
	for range *pairs {
		a := 1 + rng.IntN(n)
		b := a + 1 + rng.IntN(n)
		tryPoints(t, keys, rng.IntN(2) == 0, CrashPoint{a, Phase(rng.IntN(2))}, CrashPoint{b, Phase(rng.IntN(2))})
	}
	t.Logf("%d of %d pairs", *pairs, all)
}

func tryPoints(t *testing.T, keys string, total bool, at ...CrashPoint) {
	t.Helper()
	names := make([]string, len(at))
	for i, p := range at {
		names[i] = p.flag()
	}
	report(t, fmt.Sprintf("-run TestCrashAtEachPoint -sim.total=%v -sim.points=%s", total, strings.Join(names, ",")), Run(t, checkout(keys, total, at...)))
}

func (p CrashPoint) flag() string { return fmt.Sprintf("%c%d", "ba"[p.Phase], p.Boundary) }

func parsePoints(t *testing.T, list string) (at []CrashPoint) {
	t.Helper()
	for text := range strings.SplitSeq(list, ",") {
		var side rune
		var p CrashPoint
		if _, err := fmt.Sscanf(text, "%c%d", &side, &p.Boundary); err != nil || side != 'a' && side != 'b' {
			t.Fatalf("%q is no crash point: write b12 or a40", text)
		}
		if side == 'a' {
			p.Phase = After
		}
		at = append(at, p)
	}
	return at
}

// TestARunCanBeRepeated runs seeds twice and compares everything that happened. Otherwise a failing seed would be of no
// use. The seed does not decide the order of timers for the same nanosecond, such as the deadlines of two calls that
// were sent together. About one run in ten has such timers, more on a machine with few free processors. Such a seed
// needs several runs.
func TestARunCanBeRepeated(t *testing.T) {
	const runs, wanted, tries = 25, 22, 4
	keys := t.TempDir()
	Run(t, Seeded(1, keys, silent())) // makes the signing keys
	same := 0
	for seed := uint64(1); seed <= runs; seed++ {
		a, b := Run(t, Seeded(seed, keys, silent())), Run(t, Seeded(seed, keys, silent()))
		for again := 1; a.Digest != b.Digest && again < tries; again++ {
			b = Run(t, Seeded(seed, keys, silent()))
		}
		if a.Digest == b.Digest {
			same++
			continue
		}
		i := 0
		for i < min(len(a.Trace), len(b.Trace))-1 && a.Trace[i] == b.Trace[i] {
			i++
		}
		t.Logf("seed %d went two ways after\n\t%s\nthe first:\n\t%s\nthe second:\n\t%s", seed,
			lines(a.Trace[max(0, i-5):i], "\n\t"), a.Trace[i], b.Trace[i])
	}
	if same < wanted {
		t.Errorf("%d of %d runs could be repeated; want %d at least", same, runs, wanted)
	}
}

// TestSabotageIsNoticed breaks one rule at a time and requires that at least one of a few seeds notices it.
func TestSabotageIsNoticed(t *testing.T) {
	const runs = 40
	keys := t.TempDir()
	for _, sabotage := range []Sabotage{
		LastWriteWins, WritesVanish, BrokerOnly, VoidForgotten, CommitForgotten, CaptureForgotten, RefundForgotten, FreshKeys, FailuresRemembered,
		SentForgotten,
	} {
		t.Run(string(sabotage), func(t *testing.T) {
			for seed := uint64(1); seed <= runs; seed++ {
				plan := Seeded(seed, keys, silent())
				plan.Faults.Sabotage = sabotage
				plan.Faults.Email = plan.Faults.Email || sabotage == SentForgotten
				if result := Run(t, plan); len(result.Violations) > 0 {
					t.Logf("noticed in seed %d: %s", seed, result.Violations[0])
					return
				}
			}
			t.Errorf("%d runs with it found nothing wrong", runs)
		})
	}
}

// TestForgottenReservationsExpire: even if no release arrives, the sweep of products asks orders about old reservations
// and releases them. So this one sabotage must do no harm.
func TestForgottenReservationsExpire(t *testing.T) {
	keys := t.TempDir()
	for seed := uint64(1); seed <= 10; seed++ {
		plan := Seeded(seed, keys, silent())
		plan.Faults.Sabotage = ReleaseForgotten
		report(t, "-run TestForgottenReservationsExpire", Run(t, plan))
	}
}
