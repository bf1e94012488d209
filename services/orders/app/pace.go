package app

import (
	"fmt"
	"strings"
	"time"
)

// Pace says how the saga spaces the attempts of its steps, and when it gives up an order.
type Pace struct {
	// Deadline is how long an order may try before the pivot.
	Deadline time.Duration
	// Attempt bounds one attempt of a step.
	Attempt time.Duration
	Backoff Backoff
}

// Backoff spaces the attempts of a step that gets no answer: exponentially from First to Max, less up to a quarter, so that
// orders that failed together are not retried together.
type Backoff struct {
	First, Max time.Duration
	// Jitter gives numbers from 0 up to 1.
	Jitter func() float64
}

func (b Backoff) after(attempts int) time.Duration {
	d := min(b.First<<min(attempts, 16), b.Max)
	return d - time.Duration(float64(d)/4*b.Jitter())
}

// leastAttempts is how many attempts of each step before the pivot must fit into the deadline.
const leastAttempts = 3

// Check refuses a pace at which orders would reach their deadline because a service is briefly unavailable: a few attempts of
// each step that can be undone must fit, each with the longest pause after it. The error names the settings.
func (s Saga) Check(p Pace) error {
	if p.Backoff.First > p.Backoff.Max {
		return fmt.Errorf("saga.first_backoff is %s and saga.max_backoff is %s. The first pause must not be longer than the longest", p.Backoff.First, p.Backoff.Max)
	}
	var names []string
	for _, step := range s {
		if step.Undo != nil {
			names = append(names, step.Name)
		}
	}
	least := time.Duration(len(names)*leastAttempts) * (p.Attempt + p.Backoff.Max)
	if p.Deadline >= least {
		return nil
	}
	return fmt.Errorf("saga.deadline is %s and must be at least %s. That is what %d attempts of each step before the pivot (%s) take, "+
		"each as long as saga.step_timeout (%s) and followed by saga.max_backoff (%s)",
		p.Deadline, least, leastAttempts, strings.Join(names, ", "), p.Attempt, p.Backoff.Max)
}
