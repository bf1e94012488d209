package main

import (
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"caravan/gateway/proxy"
)

// TestBreakersAreReported: one value for each app.
func TestBreakersAreReported(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	breakers := proxy.NewBreakers([]string{"orders", "users"}, testSettings().Breaker, func(string, string, string) {})
	if err := reportBreakers(breakers, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test")); err != nil {
		t.Fatal(err)
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	one := all.ScopeMetrics[0].Metrics[0]
	data, ok := one.Data.(metricdata.Gauge[int64])
	if !ok || one.Name != "gateway.breaker.open" || len(data.DataPoints) != 2 {
		t.Fatalf("the metric is %+v", one)
	}
	for _, point := range data.DataPoints {
		if target, has := point.Attributes.Value("target"); !has || target.AsString() == "" || point.Value != 0 {
			t.Errorf("a value is %+v", point)
		}
	}
}
