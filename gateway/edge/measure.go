package edge

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// durations is the instrument http.server.request.duration of OpenTelemetry's HTTP semantic conventions. The chassis
// has the same instrument; with the same description both are one.
type durations struct{ histogram metric.Float64Histogram }

func newDurations(meter metric.Meter) (*durations, error) {
	histogram, err := meter.Float64Histogram("http.server.request.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of HTTP requests by route and status."))
	if err != nil {
		return nil, fmt.Errorf("making the request histogram: %w", err)
	}
	return &durations{histogram: histogram}, nil
}

// measured records the requests of one route. It makes the attribute sets once per status, because hashing them for
// every request would cost more than the measurement.
type measured struct {
	histogram metric.Float64Histogram
	route     []attribute.KeyValue
	byStatus  sync.Map // int → []metric.RecordOption
}

func (d *durations) of(method, pattern string) *measured {
	m := &measured{histogram: d.histogram}
	if pattern != "" {
		m.route = []attribute.KeyValue{attribute.String("http.request.method", method), attribute.String("http.route", pattern)}
	}
	return m
}

func (m *measured) record(ctx context.Context, took time.Duration, status int) {
	options, ok := m.byStatus.Load(status)
	if !ok {
		set := attribute.NewSet(append(m.route[:len(m.route):len(m.route)], attribute.Int("http.response.status_code", status))...)
		options, _ = m.byStatus.LoadOrStore(status, []metric.RecordOption{metric.WithAttributeSet(set)})
	}
	m.histogram.Record(ctx, took.Seconds(), options.([]metric.RecordOption)...)
}
