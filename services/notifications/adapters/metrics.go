package adapters

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"caravan/internal/event"
	"caravan/services/notifications/domain"
)

// Counter is an app.Counter over OpenTelemetry.
type Counter struct {
	events metric.Int64Counter
}

// NewCounter makes a Counter with its instrument, caravan.notifications.events by outcome and event type.
func NewCounter(m metric.Meter) (*Counter, error) {
	events, err := m.Int64Counter("caravan.notifications.events",
		metric.WithDescription("Deliveries of events by outcome."))
	if err != nil {
		return nil, fmt.Errorf("making the counter of events: %w", err)
	}
	return &Counter{events}, nil
}

// Count implements app.Counter. Types without a notification share one label: a producer may send any number of types.
func (c *Counter) Count(ctx context.Context, outcome string, e event.Event) {
	typ := "other"
	if domain.Notifiable(e.Type) {
		typ = e.Type
	}
	c.events.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(
		attribute.String("outcome", outcome), attribute.String("type", typ))))
}
