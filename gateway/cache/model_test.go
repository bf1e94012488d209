package cache

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/clock"
	"caravan/internal/clock/clocktest"
)

var errDown = errors.New("the service is down")

// model is the service as it is, and what the cache may do at most.
type model struct {
	clock   *clocktest.Clock
	cache   *Cache
	policy  *Policy
	version map[string]int // of the resource, by key
	changed map[string][]time.Time
	down    bool
	failed  map[string]time.Time // last failed call by key
	calls   int
}

// TestAnswersAreNotOlderThanAllowed takes random steps one after another: reads, changes, failures and time that passes. An
// answer is never older than the policy allows, an old one is served only while calls fail, no call is made while an answer is
// fresh, and the memory is bounded.
func TestAnswersAreNotOlderThanAllowed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clk := clocktest.At(time.Unix(1e9, 0))
		entries, bytes := rapid.IntRange(1, 4).Draw(rt, "entries"), rapid.Int64Range(2*overhead, 5*overhead).Draw(rt, "bytes")
		m := &model{
			clock: clk, cache: New(Settings{Entries: entries, Bytes: bytes, Clock: clk}), policy: policy(),
			version: make(map[string]int), changed: make(map[string][]time.Time), failed: make(map[string]time.Time),
		}
		key := rapid.SampledFrom([]string{"/a", "/b", "/c"})
		rt.Repeat(map[string]func(*rapid.T){
			"read":   func(rt *rapid.T) { m.read(rt, key.Draw(rt, "key")) },
			"change": func(rt *rapid.T) { m.change(key.Draw(rt, "key")) },
			"change and forget": func(rt *rapid.T) {
				k := key.Draw(rt, "key")
				m.change(k)
				m.cache.Forget(k)
				if got, ok := m.cache.Get(k); ok {
					rt.Fatalf("%s was forgotten, and is %+v", k, got)
				}
			},
			"fail": func(rt *rapid.T) { m.down = rapid.Bool().Draw(rt, "down") },
			"pass": func(rt *rapid.T) {
				clk.Advance(time.Duration(rapid.IntRange(1, 1200).Draw(rt, "ms")) * time.Millisecond)
			},
			"sleep": func(rt *rapid.T) { clk.Advance(time.Duration(rapid.IntRange(1, 40).Draw(rt, "s")) * time.Second) },
			"": func(rt *rapid.T) {
				if n, size := m.cache.Size(); n > entries || size > bytes || n > 0 && size < int64(n)*overhead {
					rt.Fatalf("%d entries with %d bytes; at most %d and %d", n, size, entries, bytes)
				}
			},
		})
	})
}

func (m *model) change(key string) {
	m.version[key]++
	m.changed[key] = append(m.changed[key], m.clock.Now())
}

func (m *model) read(rt *rapid.T, key string) {
	calls := m.calls
	got, ok := m.cache.Get(key)
	var err error
	if !ok {
		got, err = m.cache.Load(context.Background(), key, m.policy, func(context.Context) (*Answer, error) {
			m.calls++
			if m.down {
				m.failed[key] = m.clock.Now()
				return nil, errDown
			}
			return answerOf(strconv.Itoa(m.version[key]) + strings.Repeat(" ", rand.IntN(overhead))), nil
		})
	}
	now := m.clock.Now()
	if err != nil {
		if !errors.Is(err, errDown) || !m.down || m.calls == calls {
			rt.Fatalf("%s: %v", key, err)
		}
		return
	}
	version, _ := strconv.Atoi(strings.TrimSpace(string(got.Body)))
	age := time.Duration(0) // of the answer at least
	if version < m.version[key] {
		age = now.Sub(m.changed[key][version])
	}
	failing := now.Sub(m.failed[key]) < m.policy.Fresh || m.down
	switch called := m.calls > calls; {
	case got.Kind == Miss && (!called || age > 0 || m.down), got.Kind == Hit && (called || age >= m.policy.Fresh || got.Age >= m.policy.Fresh):
		rt.Fatalf("%s: %s, called %v, %s old, %s by its header", key, got.Kind, called, age, got.Age)
	case got.Kind == Stale && (!failing || age >= m.policy.Error || got.Age >= m.policy.Error || got.Age < age):
		rt.Fatalf("%s: stale, failing %v, %s old, %s by its header", key, failing, age, got.Age)
	case got.Kind == Shared:
		rt.Fatalf("%s: shared with nobody", key)
	}
}

// TestReadersAtOnce lets many readers read one resource that changes, through a service that takes some time. What a reader gets
// was true at most Fresh+Stale before its request, however long the calls take, and calls are few.
func TestReadersAtOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		slowest := rapid.SampledFrom([]int{1, 50, 700, 3000}).Draw(rt, "slowest call in ms")
		readers := rapid.IntRange(1, 20).Draw(rt, "readers")
		synctest.Test(t, func(t *testing.T) { readAtOnce(t, seed, slowest, readers) })
	})
}

func readAtOnce(t *testing.T, seed uint64, slowest, readers int) {
	cache, p := New(Settings{Entries: 2, Bytes: 1 << 20, Clock: clock.System{}}), policy()
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1))
	pause := func(most int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(1+random.IntN(most*1000)) * time.Microsecond
	}
	changes, calls := []time.Time{time.Now()}, 0
	call := func(context.Context) (*Answer, error) {
		time.Sleep(pause(slowest))
		mu.Lock()
		calls++
		answer := answerOf(strconv.Itoa(len(changes) - 1))
		mu.Unlock()
		time.Sleep(pause(slowest))
		return answer, nil
	}
	began := time.Now()
	var all sync.WaitGroup
	reads := 0
	for range readers {
		all.Go(func() {
			for time.Since(began) < 10*time.Second {
				asked := time.Now()
				got, err := cache.Load(t.Context(), "/p", p, call)
				if err != nil || got.Status != http.StatusOK {
					t.Errorf("got %+v, %v", got, err)
					return
				}
				mu.Lock()
				reads++
				version, _ := strconv.Atoi(string(got.Body))
				if version+1 < len(changes) {
					if outdated := asked.Sub(changes[version+1]); outdated > p.Fresh+p.Stale {
						t.Errorf("%s: what changed %s before the request was not there", got.Kind, outdated)
					}
				}
				mu.Unlock()
				time.Sleep(pause(20))
			}
		})
	}
	for time.Since(began) < 10*time.Second {
		time.Sleep(pause(300))
		mu.Lock()
		changes = append(changes, time.Now())
		mu.Unlock()
	}
	all.Wait()
	// A call begins at most every Fresh while they are short, and every Fresh+Stale while they are long.
	if most := int(10*time.Second/p.Fresh) + 2; calls > most {
		t.Errorf("%d calls for %d reads; at most %d", calls, reads, most)
	}
}
