package service

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"caravan/internal/clock"
	"caravan/internal/request"
	"caravan/internal/subscription"
)

const (
	probeTimeout  = 2 * time.Second
	probeBelieved = time.Second            // how long a success is valid
	storeBelieved = 2 * time.Second        // the same for a round trip to the store
	probeRetry    = 200 * time.Millisecond // how long a failure is valid

	// probeKey is read to check whether the store answers. No document has this key.
	probeKey = "readyz"
)

// probe is one condition of readiness. Its answers are cached for a short time and it runs once at a time, so that
// frequent readiness requests are no load.
type probe struct {
	name     string
	check    func(ctx context.Context) error
	believed time.Duration
	clock    clock.Clock

	mu    sync.Mutex
	until time.Time
	last  error
}

func (p *probe) run(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clock.Now().Before(p.until) {
		return p.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	p.last = p.check(ctx)
	p.until = p.clock.Now().Add(p.believed)
	if p.last != nil {
		p.until = p.clock.Now().Add(probeRetry)
	}
	return p.last
}

// standardProbes are the conditions of every program's readiness: its sidecar, and for a service its store and its
// subscriptions. A consumer without a live subscription looks healthy but gets no events.
func (s *Service) standardProbes(c connection) {
	probes := []*probe{{name: "sidecar", check: c.Outbound, believed: probeBelieved, clock: s.Clock}}
	if s.guarded {
		probes = append(probes, &probe{name: "store", believed: storeBelieved, clock: s.Clock, check: func(ctx context.Context) error {
			_, err := c.Store().Get(ctx, probeKey)
			return err
		}})
	}
	if len(s.topics) > 0 {
		probes = append(probes, &probe{name: "subscriptions", believed: probeBelieved, clock: s.Clock, check: func(ctx context.Context) error {
			if err := s.subscribed(ctx, c); err != nil || s.monitor == nil {
				return err
			}
			return s.monitor.Check()
		}})
	}
	s.probes = append(probes, s.probes...)
}

func (s *Service) subscribed(ctx context.Context, c connection) error {
	live, err := c.Subscriptions(ctx)
	if err != nil {
		return err
	}
	var missing []string
	for _, topic := range s.topics {
		if !slices.Contains(live, topic) && !slices.Contains(live, s.Name+"."+topic) {
			missing = append(missing, topic)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the sidecar has no subscription to %s", strings.Join(missing, ", "))
	}
	return nil
}

type readiness struct {
	Status string            `json:"status"`
	Checks map[string]string `json:"checks"`
	// Subscriptions describes the health of each subscription, by its topic.
	Subscriptions map[string]subscription.Health `json:"subscriptions,omitempty"`
}

// readyz answers 200 when every probe passes. Otherwise, and while the program starts or stops, it answers 503. Only
// services name the failed probes, because the gateway's answer is public.
func (s *Service) readyz(w http.ResponseWriter, r *http.Request) error {
	answer := readiness{Status: "ready", Checks: make(map[string]string, len(s.probes))}
	results := make([]error, len(s.probes))
	var all sync.WaitGroup
	for i, p := range s.probes {
		all.Go(func() { results[i] = p.run(r.Context()) })
	}
	all.Wait()
	for i, p := range s.probes {
		answer.Checks[p.name] = "ok"
		if err := results[i]; err != nil {
			answer.Status = "unready"
			answer.Checks[p.name] = "failing"
			if s.guarded {
				answer.Checks[p.name] = err.Error()
			}
			s.Log.DebugContext(r.Context(), "not ready", "check", p.name, "error", err)
		}
	}
	if s.monitor != nil {
		answer.Subscriptions = s.monitor.Health()
	}
	switch {
	case s.draining.Load():
		answer.Status = "draining"
	case !s.started.Load():
		answer.Status = "starting"
	}
	status := http.StatusOK
	if answer.Status != "ready" {
		status = http.StatusServiceUnavailable
	}
	request.Respond(w, status, answer)
	return nil
}

// livez answers 200 as long as the program can answer requests.
func (s *Service) livez(w http.ResponseWriter, _ *http.Request) error {
	request.Respond(w, http.StatusOK, map[string]string{"status": "alive"})
	return nil
}

// answerSidecar answers the requests that the sidecar sends to its app once, at start. Subscriptions come from
// dapr/resources/subscriptions.yaml and there are no actors, so both answers are empty. They must be available before
// the service has started, because the sidecar does not ask again
// (https://docs.dapr.io/reference/api/pubsub_api/#provide-a-route-for-dapr-to-discover-topic-subscriptions).
func (s *Service) answerSidecar() {
	constant := func(v any) writer {
		return func(w http.ResponseWriter, _ *http.Request) error {
			request.Respond(w, http.StatusOK, v)
			return nil
		}
	}
	for pattern, v := range map[string]any{"GET /dapr/subscribe": []string{}, "GET /dapr/config": struct{}{}} {
		s.mux.Handle(pattern, &endpoint{s, newRoute(pattern, kindProbe, constant(v))})
	}
}
