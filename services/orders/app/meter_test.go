package app

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"caravan/services/orders/contract"
)

// counts is a Meter that remembers its counts by their labels.
type counts struct {
	mu sync.Mutex
	by map[string]int
}

func (c *counts) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[string]int{}
	}
	c.by[what]++
}

func (c *counts) Stepped(_ context.Context, step, outcome string, _ time.Duration) {
	c.add(step + " " + outcome)
}

func (c *counts) Reached(_ context.Context, status contract.Status) { c.add(string(status)) }

// TestStepsAndStatusesAreCounted: each attempt of a step counts, and each status that was stored.
func TestStepsAndStatusesAreCounted(t *testing.T) {
	s := newShop()
	order := s.placeOne(t)
	s.services.answer["capture"] = errAway
	s.driver.drive(t.Context(), start{id: order.ID})
	s.clock.Advance(time.Hour)
	s.driver.drive(t.Context(), start{id: order.ID})
	clear(s.services.answer)
	s.clock.Advance(time.Hour)
	s.driver.drive(t.Context(), start{id: order.ID})
	const want = "map[authorize answered:1 capture answered:1 capture no_answer:2 capturing:1 confirmed:1 pivot answered:1 reserve answered:1]"
	if got := fmt.Sprint(s.counts.by); got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}

// TestCompensationsAreCounted: an order that is refused undoes its steps, which counts as one step.
func TestCompensationsAreCounted(t *testing.T) {
	s := newShop()
	order := s.placeOne(t)
	s.services.answer["authorize"] = errAway
	s.driver.drive(t.Context(), start{id: order.ID})
	s.clock.Advance(time.Hour) // past the deadline
	s.driver.drive(t.Context(), start{id: order.ID})
	if got := s.counts.by; got["compensate answered"] != 1 || got["cancelled"] != 1 || got["authorize no_answer"] != 1 {
		t.Errorf("counted %v", got)
	}
}
