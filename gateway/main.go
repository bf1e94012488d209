// Command gateway is the single entry point of Caravan. It finds the route of a request, counts and identifies its
// caller, and forwards the request to the service that answers it. It has no business rules and no important state.
package main

import (
	"context"
	"crypto/subtle"
	_ "embed"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"caravan/gateway/cache"
	"caravan/gateway/edge"
	"caravan/gateway/health"
	"caravan/gateway/ops"
	"caravan/gateway/proxy"
	"caravan/gateway/route"
	"caravan/gateway/spec"
	"caravan/internal/clock"
	"caravan/internal/id"
	"caravan/internal/service"
	"caravan/internal/token"
	users "caravan/services/users/contract"
)

//go:generate go run ./generate

//go:embed routes.yaml
var routesYAML []byte

//go:embed openapi.yaml
var openapiYAML []byte

func main() { service.Main(route.Gateway, build) }

func build(_ context.Context, s *service.Service) error {
	var cfg settings
	if err := s.Configure(&cfg); err != nil {
		return err
	}
	auth := s.Settings.Auth
	front, err := assemble(cfg, surroundings{
		Probes: s, Log: s.Log, Clock: s.Clock, IDs: s.IDs, Tracer: s.Telemetry.Tracer, Meter: s.Telemetry.Meter,
		Sidecar: &url.URL{Scheme: "http", Host: net.JoinHostPort(s.Settings.Dapr.Host, strconv.Itoa(s.Settings.Dapr.HTTPPort))},
		Token:   s.Settings.Dapr.Token,
		Invoker: s.Sidecar.Invoker(),
		Verifier: token.NewVerifier(func(ctx context.Context) (token.KeySet, error) {
			var keys token.KeySet
			if err := s.Sidecar.Invoker().Invoke(ctx, auth.KeysApp, auth.KeysPath, struct{}{}, &keys); err != nil {
				return token.KeySet{}, fmt.Errorf("fetching the keys of access tokens: %w", err)
			}
			return keys, nil
		}, auth.Issuer, auth.Audience, s.Clock),
	})
	if err != nil {
		return err
	}
	s.Front(withMetrics(front, s, s.Settings.App.Token))
	s.Background("drain", func(ctx context.Context) error {
		<-ctx.Done()
		front.Drain()
		return nil
	})
	return nil
}

// withMetrics serves /metrics to callers with the app token, such as our scraper. For all others the path does not
// exist, because the gateway's port is public.
func withMetrics(front, chassis http.Handler, appToken string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := r.Header.Get("dapr-api-token")
		if r.URL.Path == "/metrics" && appToken != "" && subtle.ConstantTimeCompare([]byte(shown), []byte(appToken)) == 1 {
			chassis.ServeHTTP(w, r)
			return
		}
		front.ServeHTTP(w, r)
	})
}

// surroundings is what the gateway uses from outside.
type surroundings struct {
	Probes   http.Handler // answers /livez and /readyz
	Log      *slog.Logger
	Clock    clock.Clock
	IDs      id.Source
	Tracer   trace.Tracer
	Meter    metric.Meter
	Sidecar  *url.URL // the sidecar's HTTP API, and what it wants to be shown
	Token    string
	Invoker  ops.Invoker
	Verifier *token.Verifier
}

// assemble builds the edge from its parts.
func assemble(cfg settings, on surroundings) (*edge.Edge, error) {
	table, err := loadRoutes(cfg.Routes)
	if err != nil {
		return nil, err
	}
	document, err := spec.Load(openapiYAML)
	if err != nil {
		return nil, err
	}
	limiter, err := cfg.Limit.limiter(on.Clock)
	if err != nil {
		return nil, err
	}
	breakers := proxy.NewBreakers(table.Apps(), cfg.Breaker, func(app, from, to string) {
		on.Log.Warn("a circuit breaker changed", "app", app, "from", from, "to", to)
	})
	if err := reportBreakers(breakers, on.Meter); err != nil {
		return nil, err
	}
	repeated, err := reportRepeats(on.Log, on.Meter)
	if err != nil {
		return nil, err
	}
	kept := cfg.Cache.cache(on.Clock)
	if err := reportCache(kept, on.Meter); err != nil {
		return nil, err
	}
	transport := proxy.NewTransport(cfg.Forward.DialTimeout)
	checker := health.New(table.Apps(), on.Sidecar, on.Token, transport, cfg.Health.Timeout, on.Clock)
	operations := &ops.Operations{Checker: checker, Breakers: breakers, Invoker: on.Invoker}
	probe := func(w http.ResponseWriter, r *http.Request) error { on.Probes.ServeHTTP(w, r); return nil }
	return edge.New(edge.Settings{
		Table: table,
		Forwarder: proxy.New(proxy.Settings{
			Sidecar: on.Sidecar, Token: on.Token, Transport: transport, Breakers: breakers, Repeated: repeated,
		}),
		Verifier: on.Verifier,
		Limiter:  limiter,
		Cache:    kept, Largest: cfg.Cache.Answer,
		Local: map[string]edge.Handler{
			"GET /livez":           probe,
			"GET /readyz":          probe,
			"GET /healthz":         checker.Serve,
			"GET /openapi.json":    document.Serve,
			"GET /v1/ops/services": operations.ListServices,
			"GET /v1/ops/breakers": operations.ListBreakers,
		},
		Proxies: cfg.Forward.Proxies, Concurrent: cfg.Forward.Concurrent, Held: cfg.Forward.Held, Streams: cfg.Forward.Streams,
		Log: on.Log, Tracer: on.Tracer, Meter: on.Meter, Clock: on.Clock, IDs: on.IDs,
	})
}

// reportRepeats counts and logs the calls that were sent twice.
func reportRepeats(log *slog.Logger, meter metric.Meter) (proxy.Repeated, error) {
	counter, err := meter.Int64Counter("gateway.repeats", metric.WithDescription("Calls sent a second time, by app, how the first was lost, and whether the second was."))
	if err != nil {
		return nil, fmt.Errorf("making the counter of repeats: %w", err)
	}
	return func(ctx context.Context, r proxy.Repeat) {
		counter.Add(ctx, 1, metric.WithAttributes(
			attribute.String("app", r.Route.App), attribute.String("loss", r.Loss.String()), attribute.Bool("failed", r.Failed)))
		log.WarnContext(ctx, "a call was lost on its way and sent again",
			"app", r.Route.App, "route", r.Route.Name, "loss", r.Loss.String(), "failed", r.Failed, "cause", r.Cause)
	}, nil
}

// reportBreakers makes the gauge gateway.breaker.open: by target, 0 while the breaker is closed and 1 while it is open or half-open.
func reportBreakers(breakers *proxy.Breakers, meter metric.Meter) error {
	_, err := meter.Int64ObservableGauge("gateway.breaker.open", metric.WithDescription("Whether a circuit breaker is not closed, by target."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for _, status := range breakers.Status() {
				var open int64
				if status.State != "closed" {
					open = 1
				}
				o.Observe(open, metric.WithAttributes(attribute.String("target", status.App)))
			}
			return nil
		}))
	if err != nil {
		return fmt.Errorf("making the gauge of breakers: %w", err)
	}
	return nil
}

// reportCache makes gauges of the memory of the cache.
func reportCache(kept *cache.Cache, meter metric.Meter) error {
	if kept == nil {
		return nil
	}
	entries, err := meter.Int64ObservableGauge("gateway.cache.entries", metric.WithDescription("Answers in the cache."))
	if err != nil {
		return fmt.Errorf("making the gauge of answers in the cache: %w", err)
	}
	size, err := meter.Int64ObservableGauge("gateway.cache.size", metric.WithUnit("By"), metric.WithDescription("Bytes of the answers in the cache."))
	if err != nil {
		return fmt.Errorf("making the gauge of bytes in the cache: %w", err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		n, bytes := kept.Size()
		o.ObserveInt64(entries, int64(n))
		o.ObserveInt64(size, bytes)
		return nil
	}, entries, size)
	if err != nil {
		return fmt.Errorf("observing the cache: %w", err)
	}
	return nil
}

// loadRoutes reads the route table from a file. Without a file it is the built-in one.
func loadRoutes(file string) (*route.Table, error) {
	source := routesYAML
	if file != "" {
		var err error
		if source, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("reading the route table: %w", err)
		}
	}
	return route.Parse(source, route.Known{Rates: classes(), Permissions: users.Permissions()})
}

// classes are the rate classes of the configuration.
func classes() []string {
	return []string{route.PublicRate, route.SignedInRate, credentialsRate, edge.RefusedRate}
}
