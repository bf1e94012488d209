package adapters

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"

	"caravan/services/orders/app"
)

// ExportAlarm shows an alarm as the gauges caravan.orders.overdue, the number of orders past the pivot that wait too
// long, and caravan.orders.overdue.age, for how many seconds the one that waits longest does. Each replica shows the
// orders that it drives.
func ExportAlarm(m metric.Meter, a *app.Alarm) error {
	orders, err := m.Int64ObservableGauge("caravan.orders.overdue",
		metric.WithDescription("Orders past the pivot that wait too long."))
	if err != nil {
		return fmt.Errorf("making the gauge of overdue orders: %w", err)
	}
	age, err := m.Float64ObservableGauge("caravan.orders.overdue.age", metric.WithUnit("s"),
		metric.WithDescription("How long the order past the pivot that waits longest does."))
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
