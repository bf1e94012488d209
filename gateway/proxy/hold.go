package proxy

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/sony/gobreaker/v2"

	"caravan/internal/clock"
	"caravan/internal/problem"
)

// The first and the longest pause before the service is called again.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Second
)

// await makes a long poll, for which the caller allows a wait. While the service is unavailable, as during a restart,
// it is called again for the rest of that time, and once more at its end.
func (f *Forwarder) await(r *http.Request, out *http.Request, c *Call) (*http.Response, error) {
	until, left := time.Now().Add(c.Wait), c.Wait
	for try := 0; ; try++ {
		hold, final := left, left == 0
		if f.breakers.probing(c.Match.Route.App) {
			hold = 0 // a probe that waits would keep the breaker from closing
		}
		if try > 0 || hold < left {
			out = again(out, c, hold)
		}
		response, err := f.ask(r, out, c, nil, try > 0)
		probed := hold < left && err == nil && response.StatusCode == http.StatusOK
		if final || out.Context().Err() != nil || !probed && !passing(response, err) {
			return response, err
		}
		if err == nil {
			_, _ = io.CopyN(io.Discard, response.Body, maxErrorBody) // so that the connection can be used again
			_ = response.Body.Close()
		}
		if !probed {
			pause := min(firstPause<<min(try, 10), lastPause)
			pause = min(pause/2+rand.N(pause/2), max(time.Until(until), 0))
			if err := (clock.System{}).Sleep(out.Context(), pause); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrCallerLeft, err)
			}
		}
		left = max(time.Until(until), 0)
	}
}

// passing reports whether the result of a call means that the service is unavailable and may answer soon.
func passing(response *http.Response, err error) bool {
	if err == nil {
		return errors.Is(failure(response), errFailed)
	}
	return !errors.Is(err, ErrCallerLeft) && problem.From(err).Status == http.StatusServiceUnavailable
}

// again is the same request with another wait.
func again(out *http.Request, c *Call, hold time.Duration) *http.Request {
	next, target := out.WithContext(out.Context()), *out.URL
	target.RawQuery = c.Match.Route.Holding(c.Query, hold)
	next.URL = &target
	return next
}

// probing reports whether the next call of an app is a probe of its breaker.
func (b *Breakers) probing(app string) bool {
	one := b.byApp[app]
	return one != nil && one.State() == gobreaker.StateHalfOpen
}
