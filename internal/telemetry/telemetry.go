// Package telemetry sets up a program's log lines (JSON on standard output), traces (OTLP, if an endpoint is
// configured) and metrics (Prometheus, and OTLP if an endpoint is configured).
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// These environment variables decide whether anything is exported
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). The exporters and the sampler
// read the others themselves: headers, protocol limits, OTEL_TRACES_SAMPLER, ...
const (
	envEndpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	envDisabled = "OTEL_SDK_DISABLED"
)

// Telemetry has the traces and metrics of one program.
type Telemetry struct {
	// Tracer makes the program's spans.
	Tracer trace.Tracer
	// Meter makes the program's instruments. They appear on /metrics and are exported by OTLP.
	Meter metric.Meter
	// Registry takes collectors of Prometheus. They appear on /metrics only.
	Registry *prometheus.Registry

	traces  *sdktrace.TracerProvider
	metrics *sdkmetric.MeterProvider
}

// New sets up telemetry for the named program. It exports spans and metrics by OTLP over HTTP if
// OTEL_EXPORTER_OTLP_ENDPOINT is set in the environment that getenv reads. If not, spans are not recorded. They still
// have valid contexts, so that logs and events can be joined by them.
func New(ctx context.Context, service string, getenv func(string) string) (*Telemetry, error) {
	described, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", service), attribute.String("service.namespace", "caravan")),
		resource.WithFromEnv(), // last, so that OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
	)
	if err != nil {
		return nil, fmt.Errorf("describing the program to telemetry: %w", err)
	}
	export := getenv(envEndpoint) != "" && !strings.EqualFold(getenv(envDisabled), "true")
	t := &Telemetry{Registry: prometheus.NewRegistry()}
	if t.traces, err = newTraces(ctx, described, export); err != nil {
		return nil, err
	}
	if t.metrics, err = newMetrics(ctx, described, export, t.Registry); err != nil {
		return nil, errors.Join(err, t.traces.Shutdown(ctx))
	}
	t.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	t.Tracer = t.traces.Tracer("caravan")
	t.Meter = t.metrics.Meter("caravan")
	return t, nil
}

// Propagator is W3C trace context, the only format of trace headers here.
func Propagator() propagation.TextMapPropagator { return propagation.TraceContext{} }

// TracerProvider is for code that needs a provider instead of a tracer.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.traces }

// MeterProvider is for code that needs a provider instead of a meter.
func (t *Telemetry) MeterProvider() metric.MeterProvider { return t.metrics }

// Handler serves the metrics in the format of Prometheus.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.Registry, promhttp.HandlerOpts{Registry: t.Registry})
}

// Shutdown sends what is not sent yet and stops the exporters.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if err := errors.Join(t.traces.Shutdown(ctx), t.metrics.Shutdown(ctx)); err != nil {
		return fmt.Errorf("sending the last telemetry: %w", err)
	}
	return nil
}

func newTraces(ctx context.Context, described *resource.Resource, export bool) (*sdktrace.TracerProvider, error) {
	if !export {
		return sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())), nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("making the trace exporter: %w", err)
	}
	// The batch processor drops spans instead of delaying a request.
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described)), nil
}

func newMetrics(ctx context.Context, described *resource.Resource, export bool, registry *prometheus.Registry) (*sdkmetric.MeterProvider, error) {
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("making the Prometheus exporter: %w", err)
	}
	options := []sdkmetric.Option{
		sdkmetric.WithResource(described), sdkmetric.WithReader(reader),
		sdkmetric.WithView(fineDurations),
	}
	if export {
		exporter, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("making the metric exporter: %w", err)
		}
		options = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)))
	}
	return sdkmetric.NewMeterProvider(options...), nil
}

// fineDurations gives every histogram in seconds buckets for calls on one machine. Half of them are below 5 ms, where
// the default ones begin. A histogram of ages keeps its own buckets, because an age may be hours.
func fineDurations(instrument sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	if instrument.Kind != sdkmetric.InstrumentKindHistogram || instrument.Unit != "s" || strings.HasSuffix(instrument.Name, ".age") {
		return sdkmetric.Stream{}, false
	}
	return sdkmetric.Stream{
		Name: instrument.Name, Description: instrument.Description, Unit: instrument.Unit,
		Aggregation: sdkmetric.AggregationExplicitBucketHistogram{
			Boundaries: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15},
		},
	}, true
}
