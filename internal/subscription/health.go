package subscription

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Health describes one subscription in the answer of /readyz.
type Health struct {
	// LastDelivery is how many seconds ago the last message, heartbeat or event, arrived; absent before the first.
	LastDelivery *float64 `json:"lastDeliverySeconds,omitempty"`
	// InFlight counts deliveries whose handlers have not returned. Oldest is the age of the oldest in seconds.
	InFlight int     `json:"inFlight"`
	Oldest   float64 `json:"oldestSeconds,omitempty"`
	// Dead is true when heartbeats are accepted and do not arrive.
	Dead bool `json:"dead,omitempty"`
	// Repairs counts the restarts of the sidecar, for any subscription.
	Repairs int64 `json:"repairs,omitempty"`
}

// Health describes each subscription, by the name of its topic at the broker.
func (m *Monitor) Health() map[string]Health {
	now := m.Clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]Health, len(m.subscriptions))
	for _, s := range m.subscriptions {
		seen := m.Subscriber.Traffic(s.topic)
		h := Health{InFlight: seen.InFlight, Dead: s.dead, Repairs: m.repairs}
		if !seen.Last.IsZero() {
			ago := now.Sub(seen.Last).Seconds()
			h.LastDelivery = &ago
		}
		if !seen.Oldest.IsZero() {
			h.Oldest = now.Sub(seen.Oldest).Seconds()
		}
		all[s.full] = h
	}
	return all
}

// Check returns an error that names the dead subscriptions, if there are any.
func (m *Monitor) Check() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var dead []string
	for _, s := range m.subscriptions {
		if s.dead {
			dead = append(dead, s.full)
		}
	}
	if len(dead) == 0 {
		return nil
	}
	return fmt.Errorf("no deliveries arrive from %s", strings.Join(dead, ", "))
}

func (m *Monitor) instruments() (err error) {
	if m.restarts, err = m.Meter.Int64Counter("caravan.subscription.repairs",
		metric.WithDescription("Restarts of the sidecar or of the program that repair a subscription, by topic and reason.")); err != nil {
		return fmt.Errorf("making the counter of repairs: %w", err)
	}
	silence, err := m.Meter.Float64ObservableGauge("caravan.subscription.silence", metric.WithUnit("s"),
		metric.WithDescription("Time since the last delivery from a topic."))
	if err != nil {
		return fmt.Errorf("making the gauge of silence: %w", err)
	}
	oldest, err := m.Meter.Float64ObservableGauge("caravan.delivery.oldest", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest delivery of a topic whose handler has not returned."))
	if err != nil {
		return fmt.Errorf("making the gauge of deliveries: %w", err)
	}
	_, err = m.Meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for topic, h := range m.Health() {
			of := metric.WithAttributes(attribute.String("topic", topic))
			if h.LastDelivery != nil {
				o.ObserveFloat64(silence, *h.LastDelivery, of)
			}
			o.ObserveFloat64(oldest, h.Oldest, of)
		}
		return nil
	}, silence, oldest)
	if err != nil {
		return fmt.Errorf("registering the gauges of subscriptions: %w", err)
	}
	return nil
}
