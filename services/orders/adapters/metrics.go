package adapters

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"

	"caravan/services/orders/app"
)

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
