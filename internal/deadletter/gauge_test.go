package deadletter_test

import (
	"errors"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"caravan/internal/deadletter"
	"caravan/internal/document/documenttest"
)

// TestOpenLettersAreExported: the gauge has the open letters, reads them seldom, and is missing while the store does not answer.
func TestOpenLettersAreExported(t *testing.T) {
	store := documenttest.NewStore()
	repair := broken(store, "u1")
	clock := newMoving(replica(store, "a"))
	n := clock.queue()
	reader := sdkmetric.NewManualReader()
	if err := n.ExportOpen(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test")); err != nil {
		t.Fatal(err)
	}
	expectGauge := func(want int64) {
		t.Helper()
		if got := gauge(t, reader); got != want {
			t.Errorf("%d letters are open, want %d", got, want)
		}
	}
	expectGauge(0)
	dead(t, n, orderEvents("u1", 3)...)
	expectGauge(0) // counted a moment ago
	clock.advance(15 * time.Second)
	expectGauge(3)
	repair()
	if _, err := n.Discard(t.Context(), listed(t, n, deadletter.Filter{})[0].ID, byStaff); err != nil {
		t.Fatal(err)
	}
	clock.advance(15 * time.Second)
	expectGauge(2)
	store.BeforeGet(func([]string) error { return errors.New("the store does not answer") })
	clock.advance(15 * time.Second)
	expectGauge(-1)
	store.BeforeGet(func([]string) error { return nil })
	expectGauge(-1)
	clock.advance(15 * time.Second)
	expectGauge(2)
}

// TestOpenLettersHaveABound: a count reads the newest 128 letters.
func TestOpenLettersHaveABound(t *testing.T) {
	store := documenttest.NewStore()
	broken(store, "u1")
	n := replica(store, "a").queue()
	dead(t, n, orderEvents("u1", 150)...)
	if open, err := n.Open(t.Context()); err != nil || open != 128 {
		t.Errorf("%d letters are open, %v", open, err)
	}
}

// gauge reads the one gauge of a reader, -1 if it is missing.
func gauge(t *testing.T, reader sdkmetric.Reader) int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, one := range scope.Metrics {
			if data, ok := one.Data.(metricdata.Gauge[int64]); ok && one.Name == "caravan.deadletters.open" && len(data.DataPoints) == 1 {
				return data.DataPoints[0].Value
			}
		}
	}
	return -1
}
