// Package health asks every service through the sidecar whether it is ready. That checks the whole path: the gateway's
// sidecar, name resolution, the service's sidecar and the service itself.
package health

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/request"
)

// The states of a service.
const (
	Ready       = "ready"       // it says that it is ready
	Unready     = "unready"     // it says that it is not ready
	Unreachable = "unreachable" // it does not answer in time
)

const (
	maxAnswer = 64 << 10
	// believed is how long an answer is used again, so that health checks do not become a load for every service.
	believed = time.Second
)

// Status is the readiness of one service.
type Status struct {
	Name     string
	State    string
	Duration time.Duration
	Checks   map[string]string // the service's own conditions
	Detail   string            // why it is unreachable; for operators, not public
}

// Checker asks the services. It is safe for concurrent use.
type Checker struct {
	apps    []string
	sidecar *url.URL
	token   string
	client  *http.Client
	limit   time.Duration
	clock   clock.Clock
	group   singleflight.Group

	mu    sync.Mutex
	last  []Status
	asked time.Time
}

// New returns a checker of the apps. Each app has limit to answer. All are asked at once.
func New(apps []string, sidecar *url.URL, token string, transport http.RoundTripper, limit time.Duration, clk clock.Clock) *Checker {
	return &Checker{
		apps: apps, sidecar: sidecar, token: token, limit: limit, clock: clk,
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// Services returns the readiness of every service, in the order of the apps. The answer is at most a second old.
func (c *Checker) Services(ctx context.Context) []Status {
	if recent := c.recent(); recent != nil {
		return recent
	}
	// Concurrent callers share one round, so it does not end when the first of them leaves.
	all, _, _ := c.group.Do("", func() (any, error) {
		found := c.ask(context.WithoutCancel(ctx))
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last, c.asked = found, c.clock.Now()
		return found, nil
	})
	return all.([]Status)
}

func (c *Checker) recent() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil || c.clock.Now().Sub(c.asked) >= believed {
		return nil
	}
	return c.last
}

func (c *Checker) ask(ctx context.Context) []Status {
	found := make([]Status, len(c.apps))
	var all sync.WaitGroup
	for i, app := range c.apps {
		all.Go(func() {
			started := c.clock.Now()
			found[i] = c.probe(ctx, app)
			found[i].Duration = c.clock.Now().Sub(started)
		})
	}
	all.Wait()
	return found
}

func (c *Checker) probe(ctx context.Context, app string) Status {
	status := Status{Name: app, State: Unreachable}
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	target := *c.sidecar
	target.Path = "/v1.0/invoke/" + app + "/method/readyz"
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		status.Detail = err.Error()
		return status
	}
	ask.Header.Set("dapr-api-token", c.token)
	if id := correlation.ID(ctx); id != "" {
		ask.Header.Set(correlation.Header, id)
	}
	response, err := c.client.Do(ask)
	if err != nil {
		status.Detail = err.Error()
		return status
	}
	defer response.Body.Close()
	return read(status, response)
}

// read distinguishes a service's own answer, which has checks, from an answer of a sidecar.
func read(status Status, response *http.Response) Status {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	var answer struct {
		Status string            `json:"status"`
		Checks map[string]string `json:"checks"`
	}
	if err != nil || json.Unmarshal(body, &answer) != nil || answer.Checks == nil {
		status.Detail = fmt.Sprintf("answered %d without its checks: %.200s", response.StatusCode, body)
		return status
	}
	status.Checks = answer.Checks
	if response.StatusCode == http.StatusOK {
		status.State = Ready
		return status
	}
	status.State, status.Detail = Unready, answer.Status
	return status
}

type report struct {
	Status   string            `json:"status"`
	Services map[string]health `json:"services"`
}

type health struct {
	Status     string  `json:"status"`
	DurationMS float64 `json:"durationMs"`
}

// Serve answers GET /healthz: 200 when every service is ready, 503 otherwise. It is public, so it does not say why.
func (c *Checker) Serve(w http.ResponseWriter, r *http.Request) error {
	services := c.Services(r.Context())
	answer := report{Status: Ready, Services: make(map[string]health, len(services))}
	code := http.StatusOK
	for _, s := range services {
		answer.Services[s.Name] = health{Status: s.State, DurationMS: Milliseconds(s.Duration)}
		if s.State != Ready {
			answer.Status, code = Unready, http.StatusServiceUnavailable
		}
	}
	request.Respond(w, code, answer)
	return nil
}

// Milliseconds is a duration in the form of the answers.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
