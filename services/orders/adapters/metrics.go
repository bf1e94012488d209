package adapters

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"caravan/services/orders/app"
	"caravan/services/orders/contract"
)

// Meter is an app.Meter over OpenTelemetry.
type Meter struct {
	steps    metric.Float64Histogram
	statuses metric.Int64Counter
}

// NewMeter makes a Meter with its instruments: caravan.orders.steps, the durations of attempts by step and outcome, and
// caravan.orders.reached, orders by the status that they got.
func NewMeter(m metric.Meter) (*Meter, error) {
	steps, err := m.Float64Histogram("caravan.orders.steps", metric.WithUnit("s"),
		metric.WithDescription("Duration of the attempts of saga steps, by step and outcome."))
	if err != nil {
		return nil, fmt.Errorf("making the histogram of steps: %w", err)
	}
	statuses, err := m.Int64Counter("caravan.orders.reached",
		metric.WithDescription("Orders by the status that they got."))
	if err != nil {
		return nil, fmt.Errorf("making the counter of statuses: %w", err)
	}
	return &Meter{steps, statuses}, nil
}

// Stepped implements app.Meter.
func (m *Meter) Stepped(ctx context.Context, step, outcome string, took time.Duration) {
	m.steps.Record(ctx, took.Seconds(), metric.WithAttributeSet(attribute.NewSet(
		attribute.String("step", step), attribute.String("outcome", outcome))))
}

// Reached implements app.Meter.
func (m *Meter) Reached(ctx context.Context, status contract.Status) {
	m.statuses.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(attribute.String("status", string(status)))))
}

// ExportWaiting exports an alarm's waiting orders as two gauges by step: caravan.orders.waiting, their number, and
// caravan.orders.waiting.age, the longest wait in seconds. Each replica reports the orders that it drives.
func ExportWaiting(m metric.Meter, a *app.Alarm) error {
	orders, err := m.Int64ObservableGauge("caravan.orders.waiting",
		metric.WithDescription("Orders that wait for their next attempt, by step."))
	if err != nil {
		return fmt.Errorf("making the gauge of waiting orders: %w", err)
	}
	age, err := m.Float64ObservableGauge("caravan.orders.waiting.age", metric.WithUnit("s"),
		metric.WithDescription("The longest wait of an order, by step."))
	if err != nil {
		return fmt.Errorf("making the gauge of the longest wait: %w", err)
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for step, waits := range a.Waiting() {
			of := metric.WithAttributes(attribute.String("step", step))
			o.ObserveInt64(orders, int64(waits.Orders), of)
			o.ObserveFloat64(age, waits.Longest.Seconds(), of)
		}
		return nil
	}, orders, age)
	if err != nil {
		return fmt.Errorf("exporting waiting orders: %w", err)
	}
	return nil
}

// ExportAlarm exports an alarm as two gauges: caravan.orders.overdue, the number of orders past the pivot that wait too long,
// and caravan.orders.overdue.age, the longest of these waits in seconds. Each replica reports the orders that it drives.
func ExportAlarm(m metric.Meter, a *app.Alarm) error {
	orders, err := m.Int64ObservableGauge("caravan.orders.overdue",
		metric.WithDescription("Orders past the pivot that wait too long."))
	if err != nil {
		return fmt.Errorf("making the gauge of overdue orders: %w", err)
	}
	age, err := m.Float64ObservableGauge("caravan.orders.overdue.age", metric.WithUnit("s"),
		metric.WithDescription("The longest wait of an order past the pivot."))
	if err != nil {
		return fmt.Errorf("making the gauge of the longest wait: %w", err)
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		count, longest := a.Overdue()
		o.ObserveInt64(orders, int64(count))
		o.ObserveFloat64(age, longest.Seconds())
		return nil
	}, orders, age)
	if err != nil {
		return fmt.Errorf("exporting overdue orders: %w", err)
	}
	return nil
}
