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

// StreamMeter is an app.StreamMeter over OpenTelemetry.
type StreamMeter struct {
	dropped, leftOut metric.Int64Counter
}

// NewStreamMeter makes a StreamMeter with its instruments, caravan.notifications.streams.dropped and
// caravan.notifications.streams.statuses_left_out.
func NewStreamMeter(m metric.Meter) (*StreamMeter, error) {
	dropped, err := m.Int64Counter("caravan.notifications.streams.dropped",
		metric.WithDescription("Event streams that ended because their clients were too slow."))
	if err != nil {
		return nil, fmt.Errorf("making the counter of dropped streams: %w", err)
	}
	leftOut, err := m.Int64Counter("caravan.notifications.streams.statuses_left_out",
		metric.WithDescription("Order statuses that came too late to be sent in order."))
	if err != nil {
		return nil, fmt.Errorf("making the counter of left-out statuses: %w", err)
	}
	return &StreamMeter{dropped, leftOut}, nil
}

// Dropped implements app.StreamMeter.
func (m *StreamMeter) Dropped() { m.dropped.Add(context.Background(), 1) }

// LeftOut implements app.StreamMeter.
func (m *StreamMeter) LeftOut() { m.leftOut.Add(context.Background(), 1) }

// GaugeStreams makes the instrument caravan.notifications.streams, the number of open event streams.
func GaugeStreams(m metric.Meter, count func() int) error {
	_, err := m.Int64ObservableGauge("caravan.notifications.streams", metric.WithDescription("Open event streams."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(count()))
			return nil
		}))
	if err != nil {
		return fmt.Errorf("making the gauge of streams: %w", err)
	}
	return nil
}

// Count implements app.Counter. Types without a notification share one label: a producer may send any number of types.
func (c *Counter) Count(ctx context.Context, outcome string, e event.Event) {
	typ := "other"
	if _, known := domain.KindOf(e.Type); known {
		typ = e.Type
	}
	c.events.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(
		attribute.String("outcome", outcome), attribute.String("type", typ))))
}
