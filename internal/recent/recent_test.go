package recent_test

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"caravan/internal/recent"
)

// TestTheMostRecentKeysAreKnown writes keys in any order: the last size different ones are known with their counts, and
// never more than twice as many.
func TestTheMostRecentKeysAreKnown(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 8).Draw(rt, "size")
		m := recent.New[int](size)
		var order []string // keys, the most recently written last
		counts := make(map[string]int)
		for range rapid.IntRange(0, 60).Draw(rt, "writes") {
			key := strconv.Itoa(rapid.IntRange(0, 30).Draw(rt, "key"))
			if _, known := m.Get(key); !known {
				counts[key] = 0
			}
			counts[key]++
			m.Update(key, func(n int) int { return n + 1 })
			for i, k := range order {
				if k == key {
					order = append(order[:i:i], order[i+1:]...)
					break
				}
			}
			order = append(order, key)
		}
		known := 0
		for i, key := range order {
			n, ok := m.Get(key)
			if ok {
				known++
			}
			if i >= len(order)-size && !ok || ok && n != counts[key] {
				rt.Fatalf("key %d of %d is %d, %t; want %d", i, len(order), n, ok, counts[key])
			}
		}
		if known > 2*size {
			rt.Fatalf("%d keys are known; the size is %d", known, size)
		}
	})
}
