package service

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"caravan/internal/clock"
	"caravan/internal/event"
	"caravan/internal/feed"
)

// eventAges is the histogram caravan.event.age: the seconds from an event until it had come from the broker and was handled, by
// producer. Events that only the feed delivers are not in it: they come when their bucket has settled.
type eventAges struct {
	histogram metric.Float64Histogram
	clock     clock.Clock
}

func (s *Service) eventAges() *eventAges {
	histogram, err := s.Telemetry.Meter.Float64Histogram("caravan.event.age", metric.WithUnit("s"),
		metric.WithDescription("Time from an event until it was handled, of events from the broker, by producer."),
		metric.WithExplicitBucketBoundaries(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200))
	if err != nil {
		s.failures = append(s.failures, fmt.Errorf("making the histogram of events: %w", err))
	}
	return &eventAges{histogram, s.Clock}
}

// measure returns a handler that records the age of each event that h handles. An event that was seen before is not late, but repeated.
func (a *eventAges) measure(producer string, seen *feed.Seen, h event.Handler) event.Handler {
	of := metric.WithAttributeSet(attribute.NewSet(attribute.String("producer", producer)))
	return func(ctx context.Context, e event.Event) error {
		if seen.Has(e.ID) {
			return h(ctx, e)
		}
		if err := h(ctx, e); err != nil {
			return err
		}
		a.histogram.Record(ctx, max(0, a.clock.Now().Sub(e.Time).Seconds()), of)
		return nil
	}
}
