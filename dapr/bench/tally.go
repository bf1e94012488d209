package bench

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// tally collects durations and outcomes of a load.
type tally struct {
	mu       sync.Mutex
	took     []time.Duration
	outcomes map[string]int
}

func (t *tally) add(took time.Duration, outcome string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took = append(t.took, took)
	t.outcomes[outcome]++
}

func (t *tally) load(name string, clients int, elapsed time.Duration) Load {
	slices.Sort(t.took)
	load := Load{
		Name: name, Clients: clients, Seconds: elapsed.Seconds(), Done: int64(len(t.took)), Outcomes: t.outcomes,
		PerSecond: float64(len(t.took)) / elapsed.Seconds(), P50: quantile(t.took, 0.50), P99: quantile(t.took, 0.99),
	}
	if len(t.took) > 0 {
		load.Worst = inMilliseconds(t.took[len(t.took)-1])
	}
	return load
}

// quantile returns a quantile of sorted durations, in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return inMilliseconds(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))])
}

func inMilliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
