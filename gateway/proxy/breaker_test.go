package proxy

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/clock"
	"caravan/internal/problem"
)

// wait lets the virtual time of the bubble pass.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	if err := (clock.System{}).Sleep(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func stateOf(b *Breakers, app string) BreakerStatus {
	all := b.Status()
	return all[slices.IndexFunc(all, func(s BreakerStatus) bool { return s.App == app })]
}

func TestBreakerOpensOnFailuresAndClosesAfterProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []string
		b := NewBreakers([]string{"orders", "users"}, BreakerSettings{
			Consecutive: 3, Ratio: 0.5, Requests: 100, Window: 10 * time.Second, Open: 5 * time.Second, Probes: 2,
		}, func(app, from, to string) { changes = append(changes, app+" "+from+"→"+to) })
		call := func(outcome error) {
			t.Helper()
			done, err := b.allow("orders")
			if err != nil {
				t.Fatal(err)
			}
			done(outcome)
		}
		call(errFailed)
		call(errFailed)
		call(errExcluded) // does not count, and does not end the sequence
		call(errFailed)
		if _, err := b.allow("orders"); problem.From(err).Status != 503 || problem.From(err).RetryAfter != 5*time.Second {
			t.Fatalf("an open breaker answers %v", err)
		}
		if _, err := b.allow("users"); err != nil {
			t.Fatalf("another app is shut out, too: %v", err)
		}
		wait(t, 3*time.Second)
		if _, err := b.allow("orders"); problem.From(err).RetryAfter != 2*time.Second {
			t.Fatalf("later it answers %v", err)
		}
		wait(t, 2*time.Second+time.Millisecond)
		first, err := b.allow("orders")
		if err != nil {
			t.Fatal(err)
		}
		second, err := b.allow("orders")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.allow("orders"); err == nil {
			t.Fatal("a third probe was let through")
		}
		first(nil)
		second(nil)
		if s := stateOf(b, "orders"); s.State != "closed" || s.Requests != 0 {
			t.Fatalf("after the probes: %+v", s)
		}
		want := []string{"orders closed→open", "orders open→half-open", "orders half-open→closed"}
		if !slices.Equal(changes, want) {
			t.Errorf("got %q, want %q", changes, want)
		}
	})
}

func TestBreakerOpensOnARatioAndNotOnRefusals(t *testing.T) {
	b := NewBreakers([]string{"orders"}, BreakerSettings{
		Consecutive: 100, Ratio: 0.5, Requests: 10, Window: 10 * time.Second, Open: time.Hour, Probes: 1,
	}, func(string, string, string) {})
	for _, status := range []int{200, 400, 401, 403, 404, 409, 422, 429, 500} {
		done, err := b.allow("orders")
		if err != nil {
			t.Fatal(err)
		}
		done(failure(&http.Response{StatusCode: status}))
	}
	if s := stateOf(b, "orders"); s.Failures != 0 || s.Requests != 9 {
		t.Fatalf("refusals count: %+v", s)
	}
	for _, status := range []int{502, 503, 504, 503, 503, 502, 504, 503, 503} {
		done, err := b.allow("orders")
		if err != nil {
			t.Fatal(err)
		}
		done(failure(&http.Response{StatusCode: status}))
	}
	if s := stateOf(b, "orders"); s.State != "open" {
		t.Errorf("half of the requests failed: %+v", s)
	}
}
