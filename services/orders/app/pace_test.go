package app

import (
	"strings"
	"testing"
	"time"
)

// TestADeadlineLeavesRoomForAttempts refuses deadlines by which an outage of a few seconds would end orders.
func TestADeadlineLeavesRoomForAttempts(t *testing.T) {
	saga := Participants{}.Checkout()
	pace := func(deadline, attempt, first, most time.Duration) Pace {
		return Pace{Deadline: deadline, Attempt: attempt, Backoff: Backoff{First: first, Max: most}}
	}
	for _, c := range []struct {
		name string
		pace Pace
		want []string // in the error; none is expected without
	}{
		{"the defaults", pace(15*time.Minute, 12*time.Second, 500*time.Millisecond, 10*time.Second), nil},
		{"just enough", pace(132*time.Second, 12*time.Second, 500*time.Millisecond, 10*time.Second), nil},
		{"a second less", pace(131*time.Second, 12*time.Second, 500*time.Millisecond, 10*time.Second),
			[]string{"saga.deadline is 2m11s", "at least 2m12s", "reserve, authorize", "saga.step_timeout (12s)", "saga.max_backoff (10s)"}},
		{"a deadline of one attempt", pace(12*time.Second, 12*time.Second, 500*time.Millisecond, time.Second), []string{"saga.deadline is 12s"}},
		{"a deadline shorter than one pause", pace(5*time.Second, time.Second, time.Second, 30*time.Second), []string{"saga.max_backoff (30s)"}},
		{"short attempts allow a short deadline", pace(7*time.Second, time.Second, 10*time.Millisecond, 100*time.Millisecond), nil},
		{"a first pause that is longer than the longest", pace(15*time.Minute, 12*time.Second, time.Minute, 10*time.Second),
			[]string{"saga.first_backoff is 1m0s", "saga.max_backoff is 10s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := saga.Check(c.pace)
			if (err == nil) != (c.want == nil) {
				t.Fatalf("err = %v", err)
			}
			for _, text := range c.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not contain %q", err, text)
				}
			}
		})
	}
}
