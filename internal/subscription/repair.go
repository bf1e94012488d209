package subscription

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const (
	shutdownPoll     = 50 * time.Millisecond // between two checks whether the sidecar has ended
	shutdownDeadline = 20 * time.Second      // for an orderly end, before it is forced
	requestTimeout   = 3 * time.Second       // for one request to the sidecar
)

// repair asks the sidecar to end; its supervisor restarts it. The interval before the next repair doubles. So a broker
// that stays broken does not cause many restarts.
func (m *Monitor) repair(ctx context.Context, dead []*state, reasons []string) {
	topics := make([]string, len(dead))
	for i, s := range dead {
		topics[i] = s.full
	}
	m.mu.Lock()
	if !m.repaired.IsZero() {
		m.interval = min(2*m.interval, m.Settings.MaxInterval)
	}
	m.repaired = m.Clock.Now()
	m.repairs++
	interval := m.interval
	m.mu.Unlock()
	m.Log.ErrorContext(ctx, "subscriptions are dead: the sidecar is asked to end, so that it restarts",
		"topics", topics, "reasons", reasons, "next_seconds", int(interval.Seconds()))
	for _, topic := range topics {
		m.restarts.Add(ctx, 1, metric.WithAttributes(attribute.String("topic", topic), attribute.String("reason", "dead")))
	}
	if err := m.endSidecar(ctx); err != nil {
		m.Log.ErrorContext(ctx, "the sidecar could not be ended", "error", err)
	}
	now := m.Clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.subscriptions {
		s.sidecarEnded(now)
	}
}

// endSidecar asks the sidecar to end and waits until it has. If that takes too long, it forces the end: the fault
// that stopped the subscriptions may also prevent an orderly end.
func (m *Monitor) endSidecar(ctx context.Context) error {
	var last error
	for _, force := range []bool{false, true} {
		asking, cancel := context.WithTimeout(ctx, requestTimeout)
		last = m.Sidecar.Shutdown(asking, force)
		cancel()
		if m.ended(ctx) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.Log.WarnContext(ctx, "the sidecar did not end in order", "error", last)
	}
	if last != nil {
		return last
	}
	return fmt.Errorf("it still answers after %s", shutdownDeadline)
}

// ended waits until the sidecar no longer answers.
func (m *Monitor) ended(ctx context.Context) bool {
	deadline := m.Clock.Now().Add(shutdownDeadline)
	for m.Clock.Now().Before(deadline) {
		asking, cancel := context.WithTimeout(ctx, requestTimeout)
		_, err := m.Sidecar.Subscriptions(asking)
		cancel()
		if err != nil {
			return ctx.Err() == nil
		}
		if m.Clock.Sleep(ctx, shutdownPoll) != nil {
			return false
		}
	}
	return false
}
