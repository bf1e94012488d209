// Package subscription watches the subscriptions of a program and repairs those that no longer deliver.
//
// A sidecar may list a subscription that the broker no longer serves, and then the program waits for events that never
// arrive. So the Monitor publishes heartbeats through each topic and expects deliveries: its own heartbeats, those of other
// replicas, or events. Each subscription is evaluated four times per heartbeat interval:
//
//	         accepted for Bound,        probe sent,
//	         nothing delivered          nothing delivered for Every
//	healthy --------------------> silent --------------------> dead
//	 ^ ^ |                          |                          | | ^
//	 | | |                          |                          | | |
//	 | +-|------ any delivery ------+--------------------------+ | |
//	 |   |                                                       | |
//	 +---|-------------- repair: the sidecar restarts -----------+ |
//	     |                                                         |
//	     +-- not listed for Bound, or heartbeats hang for 10 bounds +
//
// Two more rules:
//
//   - While publishing fails, nothing is concluded. The broker is unavailable, and a sidecar that ends now cannot start again.
//   - A handler that runs longer than Settings.HandlerTimeout cannot be ended, so the program ends instead: see Broken.
//
// Replicas share the deliveries of a topic. Each sends as many heartbeats as the others, so each can expect its share. Silence
// may still be chance, so a probe of many heartbeats comes before a repair. docs/adr/0008-subscription-repair.md has the
// reasons and the measurements.
package subscription

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"caravan/internal/clock"
	"caravan/internal/sidecar"
)

// evaluationsPerHeartbeat is how often subscriptions are evaluated between two heartbeats.
const evaluationsPerHeartbeat = 4

// ErrHandlerTimeout is sent by Broken when a handler does not return.
var ErrHandlerTimeout = errors.New("the handler does not return")

// Settings say how dead subscriptions are found and how often they are repaired.
type Settings struct {
	Every          time.Duration `mapstructure:"every" default:"10s" help:"time between two heartbeats through each subscribed topic; 0 sends none and repairs nothing" validate:"min=0"`
	Bound          time.Duration `mapstructure:"bound" default:"30s" help:"a subscription is dead if the sidecar accepts heartbeats and none arrives for this long" validate:"gtefield=Every"`
	FirstInterval  time.Duration `mapstructure:"first_interval" default:"1m" help:"time between the first two restarts of the sidecar; it doubles with each restart" validate:"min=1s"`
	MaxInterval    time.Duration `mapstructure:"max_interval" default:"5m" help:"longest time between two restarts of the sidecar" validate:"gtefield=FirstInterval"`
	HandlerTimeout time.Duration `mapstructure:"handler_timeout" default:"2m" help:"the program ends, to be restarted, if a handler works on one event for this long" validate:"min=1s"`
}

// Sidecar is what a Monitor needs of the sidecar.
type Sidecar interface {
	Subscriptions(ctx context.Context) ([]string, error)
	SendHeartbeat(ctx context.Context, topic string, h sidecar.Heartbeat) error
	Shutdown(ctx context.Context, force bool) error
}

// Options are the parts of a Monitor. All are needed.
type Options struct {
	// Topics are the subscribed topics, as deliveries name them.
	Topics []string
	// App is the consumer's app id. Replica distinguishes its replicas.
	App, Replica string
	Settings     Settings
	Sidecar      Sidecar
	Subscriber   *sidecar.Subscriber
	Clock        clock.Clock
	// Jitter gives numbers from 0 up to 1.
	Jitter func() float64
	Log    *slog.Logger
	Meter  metric.Meter
}

// Monitor watches the subscriptions of a program. Run does the work.
type Monitor struct {
	Options
	restarts metric.Int64Counter
	broken   chan error

	mu            sync.Mutex
	subscriptions []*state
	sent          int64         // heartbeats so far
	interval      time.Duration // before the next repair
	repaired      time.Time     // when the last repair was; zero if there was none for a long time
	repairs       int64
}

// New makes a Monitor and registers its metrics.
func New(o Options) (*Monitor, error) {
	m := &Monitor{Options: o, broken: make(chan error, 1), interval: o.Settings.FirstInterval}
	for _, topic := range o.Topics {
		m.subscriptions = append(m.subscriptions, &state{topic: topic, full: topic})
	}
	return m, m.instruments()
}

// Broken sends the reason why the program has to end. It never does on a nil Monitor.
func (m *Monitor) Broken() <-chan error {
	if m == nil {
		return nil
	}
	return m.broken
}

// Run sends heartbeats, evaluates and repairs until ctx ends.
func (m *Monitor) Run(ctx context.Context) error {
	m.mu.Lock()
	for _, s := range m.subscriptions {
		s.since = m.Clock.Now()
	}
	m.mu.Unlock()
	var senders sync.WaitGroup
	defer senders.Wait()
	for _, s := range m.subscriptions {
		senders.Go(func() { m.sendHeartbeats(ctx, s) })
	}
	for {
		if m.Clock.Sleep(ctx, m.Settings.Every/evaluationsPerHeartbeat) != nil {
			return nil
		}
		m.evaluate(ctx)
	}
}

// evaluate evaluates every subscription once, sends the probes that are due and repairs dead subscriptions.
func (m *Monitor) evaluate(ctx context.Context) {
	m.readListed(ctx)
	now := m.Clock.Now()
	var dead, silent []*state
	var reasons []string
	m.mu.Lock()
	for _, s := range m.subscriptions {
		seen := m.Subscriber.Traffic(s.topic)
		if !seen.Oldest.IsZero() && now.Sub(seen.Oldest) > m.Settings.HandlerTimeout {
			m.endProgram(ctx, s, seen, now)
		}
		reason, probe := s.evaluate(now, seen.Last, m.Settings)
		switch {
		case probe:
			silent = append(silent, s)
			s.probed = now
		case s.dead:
			dead, reasons = append(dead, s), append(reasons, reason)
		}
	}
	due := now.Sub(m.repaired) >= m.interval || m.repaired.IsZero()
	if len(dead) == 0 && !m.repaired.IsZero() && now.Sub(m.repaired) > 2*m.Settings.MaxInterval {
		m.interval, m.repaired = m.Settings.FirstInterval, time.Time{} // the last repair was successful, so the next fault is a new one
	}
	m.mu.Unlock()
	for _, s := range silent {
		m.probe(ctx, s)
	}
	if len(dead) > 0 && due {
		m.repair(ctx, dead, slices.Compact(slices.Sorted(slices.Values(reasons))))
	}
}

// readListed asks the sidecar which subscriptions it has. It may list a topic in the program's own namespace with the
// program's name at the start.
func (m *Monitor) readListed(ctx context.Context) {
	listed, err := m.Sidecar.Subscriptions(ctx)
	now := m.Clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.subscriptions {
		if err != nil { // no sidecar: the next one may have other subscriptions
			s.unlisted, s.listed, s.accepted, s.hanging, s.since = time.Time{}, false, 0, time.Time{}, now
			continue
		}
		own := m.App + "." + s.topic
		s.listed = slices.Contains(listed, s.topic)
		s.full = s.topic
		if !s.listed && slices.Contains(listed, own) {
			s.listed, s.full = true, own
		}
		switch {
		case s.listed:
			s.unlisted = time.Time{}
		case s.unlisted.IsZero():
			s.unlisted = now
		}
	}
}

// endProgram asks for the end of a program whose handler does not return, because a goroutine cannot be ended.
func (m *Monitor) endProgram(ctx context.Context, s *state, seen sidecar.Traffic, now time.Time) {
	reason := fmt.Errorf("a handler of %s has worked on event %q for %s: %w", s.full, seen.OldestEvent, now.Sub(seen.Oldest).Round(time.Second), ErrHandlerTimeout)
	select {
	case m.broken <- reason:
		m.restarts.Add(ctx, 1, metric.WithAttributes(attribute.String("topic", s.full), attribute.String("reason", "handler_timeout")))
	default: // the end was already requested
	}
}
