package sim

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

var (
	seeds = flag.Int("sim.seeds", 20, "how many seeds to run")
	first = flag.Uint64("sim.first", 1, "the first seed")
	only  = flag.Uint64("sim.seed", 0, "run this seed only, and show its trace and logs")
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Package problem logs what a request failed with: here that is every day's business.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	runtime.GOMAXPROCS(1) // one thing at a time, so that a seed is enough to repeat a run
	os.Exit(m.Run())
}

// TestSeeds runs whole shops under random faults, each from one seed.
func TestSeeds(t *testing.T) {
	keys := t.TempDir()
	if *only != 0 {
		log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
		result := Run(t, Seeded(*only, keys, log))
		path := filepath.Join(os.TempDir(), fmt.Sprintf("sim-%d.trace", *only))
		report(t, *only, result)
		t.Logf("trace of %d lines, digest %x: %s", len(result.Trace), result.Digest, path)
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for _, line := range result.Trace {
			fmt.Fprintln(file, line)
		}
		return
	}
	for n := range *seeds {
		seed := *first + uint64(n)
		report(t, seed, Run(t, Seeded(seed, keys, slog.New(slog.DiscardHandler))))
	}
}

func report(t *testing.T, seed uint64, result Result) {
	t.Helper()
	t.Logf("seed %d: %s", seed, result)
	for _, violation := range result.Violations {
		t.Errorf("seed %d: %s", seed, violation)
	}
	if len(result.Violations) > 0 {
		t.Logf("run it again: go test ./test/sim -run TestSeeds -sim.seed=%d -v", seed)
	}
}
