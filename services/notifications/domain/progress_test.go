package domain_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/services/notifications/domain"
)

func TestStatusesWaitForThoseBeforeThem(t *testing.T) {
	const hold, partial = 50 * time.Millisecond, 100
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	type step struct {
		sequence int64         // of a refund, negative of a confirmation, from 100 on of the refund of a part; 0 looks for what is due
		after    time.Duration // since the first step
		pass     []int64
		late     bool
	}
	for name, steps := range map[string][]step{
		"in order":              {{1, 0, []int64{1}, false}, {2, 0, []int64{2}, false}},
		"exchanged":             {{2, 0, nil, false}, {1, 10, []int64{1, 2}, false}, {3, 20, []int64{3}, false}},
		"again":                 {{1, 0, []int64{1}, false}, {1, 1, nil, false}, {4, 1, nil, false}, {4, 2, nil, false}, {2, 3, []int64{2, 4}, false}, {2, 4, nil, false}},
		"a stream in between":   {{4, 0, nil, false}, {0, 49, nil, false}, {0, 50, []int64{4}, false}, {5, 60, []int64{5}, false}},
		"too late, once":        {{1, 0, []int64{1}, false}, {4, 0, nil, false}, {0, 50, []int64{4}, false}, {2, 51, nil, true}, {2, 52, nil, false}, {5, 53, []int64{5}, false}},
		"the time of the first": {{5, 0, nil, false}, {3, 40, nil, false}, {0, 50, []int64{3, 5}, false}, {4, 51, nil, true}},
		"the first end":         {{-5, 0, []int64{5}, false}, {7, 0, []int64{7}, false}, {9, 1, []int64{9}, false}},
		"a refund before it":    {{7, 0, nil, false}, {-5, 10, []int64{5, 7}, false}},
		"refunds exchanged":     {{-5, 0, []int64{5}, false}, {9, 1, nil, false}, {7, 2, []int64{7, 9}, false}},
		"far behind":            {{99, 0, nil, false}, {0, 50, []int64{99}, false}, {1, 51, nil, false}},
		"refunds of parts":      {{-5, 0, []int64{5}, false}, {partial + 7, 0, []int64{7}, false}, {partial + 9, 1, []int64{9}, false}, {11, 2, []int64{11}, false}},
		"a part before the end": {{partial + 7, 0, nil, false}, {-5, 10, []int64{5, 7}, false}},
		"parts exchanged":       {{-5, 0, []int64{5}, false}, {partial + 9, 1, nil, false}, {partial + 7, 2, []int64{7, 9}, false}},
		"a part retried":        {{-5, 0, []int64{5}, false}, {partial + 8, 1, nil, false}, {0, 51, []int64{8}, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var p domain.Progress
			for i, s := range steps {
				now := noon.Add(s.after * time.Millisecond)
				var passed []domain.OrderStatus
				late := false
				if s.sequence == 0 {
					passed = p.Due(now)
				} else {
					status := domain.OrderStatus{Sequence: s.sequence, Status: "refunded", Refund: true}
					if s.sequence >= partial {
						status = domain.OrderStatus{Sequence: s.sequence - partial, Status: "confirmed", Refund: true}
					}
					if s.sequence < 0 {
						status = domain.OrderStatus{Sequence: -s.sequence, Status: "confirmed"}
					}
					passed, late = p.Take(status, now, hold)
				}
				var got []int64
				for _, status := range passed {
					got = append(got, status.Sequence)
				}
				if !slices.Equal(got, s.pass) || late != s.late {
					t.Errorf("step %d passes on %v, late %v; want %v, %v", i, got, late, s.pass, s.late)
				}
			}
		})
	}
}

// Whatever the order of arrival: what is passed on ascends, and what arrives within the time is complete.
func TestStatusesArePassedOnInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const hold = 50 * time.Millisecond
		total := rapid.Int64Range(1, 40).Draw(t, "statuses")
		var arrivals []int64
		for n := range total {
			arrivals = append(arrivals, n+1)
		}
		arrivals = rapid.Permutation(arrivals).Draw(t, "arrivals")
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		began := now
		var p domain.Progress
		var got []int64
		late := 0
		keep := func(passed []domain.OrderStatus) {
			for _, s := range passed {
				got = append(got, s.Sequence)
			}
		}
		for _, n := range arrivals {
			now = now.Add(time.Duration(rapid.IntRange(0, 4).Draw(t, "pause")) * time.Millisecond)
			if at, waits := p.Waiting(); waits && !at.After(now) {
				keep(p.Due(now))
			}
			passed, tooLate := p.Take(domain.OrderStatus{Sequence: n}, now, hold)
			keep(passed)
			if tooLate {
				late++
			}
		}
		within := now.Sub(began) < hold
		keep(p.Due(now.Add(hold)))
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatal(fmt.Sprint("passed on ", got))
		}
		if int64(len(got)+late) != total {
			t.Fatalf("of %d statuses %d were passed on and %d left out", total, len(got), late)
		}
		if within && total <= 32 && late > 0 {
			t.Fatalf("%d were left out although all came in time", late)
		}
	})
}
