package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"caravan/internal/correlation"
)

func none(string) string { return "" }

func TestALineCarriesWhatTiesItToItsRequest(t *testing.T) {
	tel, err := New(context.Background(), "orders", none)
	if err != nil {
		t.Fatal(err)
	}
	ctx := correlation.With(context.Background(), "the-cause")
	ctx, span := tel.Tracer.Start(ctx, "work")
	defer span.End()

	var out bytes.Buffer
	log := NewLogger(&out, "orders", slog.LevelInfo)
	log.With("a", 1).InfoContext(ctx, "with a request")
	log.Info("without one")
	log.DebugContext(ctx, "below the level")

	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("there are %d lines", len(lines))
	}
	var with, without map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &with); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(lines[1]), &without); err != nil {
		t.Fatal(err)
	}
	sc := span.SpanContext()
	if with["correlation_id"] != "the-cause" || with["trace_id"] != sc.TraceID().String() || with["span_id"] != sc.SpanID().String() || with["service"] != "orders" {
		t.Errorf("the line is %v", with)
	}
	if _, has := without["trace_id"]; has || without["correlation_id"] != nil {
		t.Errorf("the line is %v", without)
	}
}

func TestWithoutAnEndpointSpansAreValidAndNotRecorded(t *testing.T) {
	tel, err := New(context.Background(), "orders", none)
	if err != nil {
		t.Fatal(err)
	}
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx, span := tel.Tracer.Start(correlation.Remote(context.Background(), "", parent), "work")
	defer span.End()
	if !span.SpanContext().IsValid() || span.IsRecording() || span.SpanContext().IsSampled() {
		t.Errorf("the span is %+v", span.SpanContext())
	}
	if got := correlation.Traceparent(ctx); !strings.HasPrefix(got, "00-0af7651916cd43dd8448eb211c80319c-") || strings.Contains(got, "b7ad6b7169203331") {
		t.Errorf("the next program gets %q", got)
	}
}

func TestInstrumentsShowInTheFormOfPrometheus(t *testing.T) {
	tel, err := New(context.Background(), "orders", none)
	if err != nil {
		t.Fatal(err)
	}
	durations, err := tel.Meter.Float64Histogram("http.server.request.duration", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	durations.Record(context.Background(), .0007, metric.WithAttributes(attribute.String("http.route", "/v1/orders")))
	ages, err := tel.Meter.Float64Histogram("caravan.event.age", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(1, 7200))
	if err != nil {
		t.Fatal(err)
	}
	ages.Record(context.Background(), 3600)
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`http_server_request_duration_seconds_bucket{http_route="/v1/orders",le="0.001"} 1`,
		`http_server_request_duration_seconds_bucket{http_route="/v1/orders",le="0.0005"} 0`,
		`caravan_event_age_seconds_bucket{le="1"} 0`, `caravan_event_age_seconds_bucket{le="7200"} 1`,
		"go_goroutines", "process_cpu_seconds_total", `service_name="orders"`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestWithAnEndpointSpansAndMetricsAreSent(t *testing.T) {
	var traces, metrics atomic.Int32
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/traces":
			traces.Add(1)
		case "/v1/metrics":
			metrics.Add(1)
		}
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	getenv := func(name string) string {
		if name == envEndpoint {
			return collector.URL
		}
		return ""
	}
	tel, err := New(context.Background(), "orders", getenv)
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.Tracer.Start(context.Background(), "work")
	if !span.IsRecording() {
		t.Error("the span is not recorded")
	}
	span.End()
	if err := tel.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if traces.Load() == 0 || metrics.Load() == 0 {
		t.Errorf("the collector got %d traces and %d metrics", traces.Load(), metrics.Load())
	}
}
