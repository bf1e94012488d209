package adapters

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

// DeliveryMeter is an app.DeliveryMeter over OpenTelemetry.
type DeliveryMeter struct {
	attempts metric.Int64Counter
	ages     metric.Float64Histogram
}

// NewDeliveryMeter makes a DeliveryMeter with its instruments: caravan.notifications.deliveries by channel, kind and outcome, and
// caravan.notifications.delivery.age, the seconds from an event until its message was sent, by channel and kind.
func NewDeliveryMeter(m metric.Meter) (*DeliveryMeter, error) {
	attempts, err := m.Int64Counter("caravan.notifications.deliveries",
		metric.WithDescription("Attempts to send a message, by outcome."))
	if err != nil {
		return nil, fmt.Errorf("making the counter of deliveries: %w", err)
	}
	ages, err := m.Float64Histogram("caravan.notifications.delivery.age", metric.WithUnit("s"),
		metric.WithDescription("Time from an event until its message was sent."),
		metric.WithExplicitBucketBoundaries(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200))
	if err != nil {
		return nil, fmt.Errorf("making the histogram of delivery times: %w", err)
	}
	return &DeliveryMeter{attempts, ages}, nil
}

// Attempted implements app.DeliveryMeter.
func (d *DeliveryMeter) Attempted(ctx context.Context, channel domain.Channel, kind, outcome string, age time.Duration) {
	labels := []attribute.KeyValue{attribute.String("channel", string(channel)), attribute.String("kind", kind)}
	d.attempts.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(append(labels, attribute.String("outcome", outcome))...)))
	if outcome == app.DeliverySent {
		d.ages.Record(ctx, age.Seconds(), metric.WithAttributeSet(attribute.NewSet(labels...)))
	}
}

// ExportWaiting exports the threads that wait for their next attempt in this replica as the gauge caravan.notifications.waiting.
func ExportWaiting(m metric.Meter, d *app.Driver) error {
	_, err := m.Int64ObservableGauge("caravan.notifications.waiting",
		metric.WithDescription("Subjects of which a message waits to be sent by this replica."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(d.Waiting()))
			return nil
		}))
	if err != nil {
		return fmt.Errorf("making the gauge of waiting messages: %w", err)
	}
	return nil
}
