package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"caravan/internal/problem"
)

// BreakerSettings say when the gateway stops calling a service that fails. At most as many probes run at once as have to
// succeed.
type BreakerSettings struct {
	Consecutive uint32        `mapstructure:"consecutive" default:"5" help:"failures in a row that open it" validate:"min=1"`
	Ratio       float64       `mapstructure:"ratio" default:"0.5" help:"share of failures that opens it" validate:"gt=0,max=1"`
	Requests    uint32        `mapstructure:"requests" default:"20" help:"requests from which the share counts" validate:"min=1"`
	Window      time.Duration `mapstructure:"window" default:"10s" help:"over which the share is taken" validate:"min=1s,max=10m"`
	Open        time.Duration `mapstructure:"open" default:"5s" help:"pause before it is tried again" validate:"min=10ms,max=10m"`
	Probes      uint32        `mapstructure:"probes" default:"3" help:"successes in a row that close it again" validate:"min=1,max=1000"`
}

// errExcluded marks a call that says nothing about the service, because its caller left.
var errExcluded = errors.New("the caller went away")

// errFailed marks a call that failed in the service or on the way to it.
var errFailed = errors.New("the service failed")

// Breakers is one circuit breaker per app. Only real failures count: no answer, 502, 503, 504, or a sidecar that could
// not deliver the call. A refusal (4xx) or a caller who left does not count.
type Breakers struct {
	settings BreakerSettings
	byApp    map[string]*breaker
}

type breaker struct {
	*gobreaker.TwoStepCircuitBreaker[any]
	since atomic.Pointer[time.Time] // when the state began
}

// BreakerStatus is the state of one breaker, for operators.
type BreakerStatus struct {
	App                 string    `json:"app"`
	State               string    `json:"state"` // closed, half-open or open
	Since               time.Time `json:"since"`
	Requests            uint32    `json:"requests"` // in the current window
	Failures            uint32    `json:"failures"`
	ConsecutiveFailures uint32    `json:"consecutiveFailures"`
}

// NewBreakers returns a closed breaker for each app. changed is called at every change of state; it must not block.
func NewBreakers(apps []string, settings BreakerSettings, changed func(app, from, to string)) *Breakers {
	b := &Breakers{settings: settings, byApp: make(map[string]*breaker, len(apps))}
	for _, app := range apps {
		b.byApp[app] = newBreaker(app, settings, changed)
	}
	return b
}

func newBreaker(app string, s BreakerSettings, changed func(app, from, to string)) *breaker {
	b := new(breaker)
	mark := func() { now := time.Now().UTC(); b.since.Store(&now) }
	mark()
	b.TwoStepCircuitBreaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name:         app,
		MaxRequests:  s.Probes,
		Interval:     s.Window,
		BucketPeriod: s.Window / 10,
		Timeout:      s.Open,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= s.Consecutive ||
				c.Requests >= s.Requests && float64(c.TotalFailures) >= s.Ratio*float64(c.Requests)
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errExcluded) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			mark()
			changed(app, from.String(), to.String())
		},
	})
	return b
}

// allow admits a call to an app. The caller must report the outcome to done: nil, errFailed or errExcluded. The error
// is a 503 problem with the time to come back.
func (b *Breakers) allow(app string) (done func(error), err error) {
	one := b.byApp[app]
	if one == nil {
		return nil, fmt.Errorf("no breaker for app %q", app)
	}
	done, err = one.Allow()
	if err == nil {
		return done, nil
	}
	wait := time.Until(one.since.Load().Add(b.settings.Open))
	return nil, problem.Unavailable(slugUnavailable, "The service failed repeatedly and is given time to recover.", max(wait, time.Second))
}

// Status returns the state of every breaker, sorted by app.
func (b *Breakers) Status() []BreakerStatus {
	all := make([]BreakerStatus, 0, len(b.byApp))
	for app, one := range b.byApp {
		state, counts := one.State(), one.Counts() // the state first, because reading it may begin another window
		all = append(all, BreakerStatus{
			App: app, State: state.String(), Since: *one.since.Load(),
			Requests: counts.Requests, Failures: counts.TotalFailures, ConsecutiveFailures: counts.ConsecutiveFailures,
		})
	}
	slices.SortFunc(all, func(a, b BreakerStatus) int { return strings.Compare(a.App, b.App) })
	return all
}
