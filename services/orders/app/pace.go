package app

import (
	"fmt"
	"strings"
	"time"
)

// Pace is how the saga spaces the attempts of its steps, and when it gives an order up.
type Pace struct {
	// Deadline is how long an order may try before the pivot.
	Deadline time.Duration
	// Attempt is the longest that one attempt of a step takes.
	Attempt time.Duration
	Backoff Backoff
}

// Backoff spaces the attempts of a step that gets no answer: exponential from
// First to Max, less up to a quarter, so that orders that failed together do not
// come back together.
type Backoff struct {
	First, Max time.Duration
	// Jitter gives numbers from 0 up to 1.
	Jitter func() float64
}

func (b Backoff) after(attempts int) time.Duration {
	d := min(b.First<<min(attempts, 16), b.Max)
	return d - time.Duration(float64(d)/4*b.Jitter())
}

// leastAttempts is how many attempts the deadline has to leave each step before the pivot.
const leastAttempts = 3

// Check refuses a pace at which the deadline would end orders because a service is briefly unavailable: before each step
// that can be undone has had a few attempts, each with the longest pause after it. Its error names the settings.
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
	return fmt.Errorf("saga.patience is %s and must be at least %s. That is what %d attempts of each step before the pivot (%s) take, "+
		"each as long as saga.step_timeout (%s) and followed by saga.max_backoff (%s)",
		p.Deadline, least, leastAttempts, strings.Join(names, ", "), p.Attempt, p.Backoff.Max)
}
