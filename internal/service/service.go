// Package service is the chassis of every program of Caravan: configuration, logs, traces and metrics, the HTTP server
// with its guards, readiness with real probes, and an orderly stop. A program's main is one call of Main with a
// function that registers what the program does:
//
//	func main() { service.Main("orders", build) }
//
//	func build(ctx context.Context, s *service.Service) error {
//		var cfg settings
//		if err := s.Configure(&cfg); err != nil {
//			return err
//		}
//		s.Public("POST /v1/orders", ...)
//		documents := s.Documents(nil)
//		s.Consume(...)
//		s.Background("sweeper", ...)
//		return nil
//	}
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/internal/request"
	"caravan/internal/sidecar"
	"caravan/internal/subscription"
	"caravan/internal/telemetry"
	"caravan/internal/token"
)

// Service is a program while it is built and while it runs. The build function registers everything; nothing is
// registered later.
type Service struct {
	// Name is the program's name, which is also its default Dapr app id.
	Name string
	// Log writes JSON lines. With a context they contain the correlation id and the trace.
	Log *slog.Logger
	// Clock is the time.
	Clock clock.Clock
	// IDs makes identifiers.
	IDs id.Source
	// Jitter gives numbers from 0 up to 1 that spread retries of many replicas.
	Jitter func() float64
	// Sidecar is the client for everything outside of the program: documents, other services, events.
	Sidecar *sidecar.Client
	// Outside takes the calls that cannot go through the sidecar, such as those of push services, in place of the network. It is
	// nil except in the simulation.
	Outside http.RoundTripper
	// Settings is the configuration that every program has.
	Settings Settings
	// Telemetry makes spans and instruments in addition to those of each request.
	Telemetry *telemetry.Telemetry
	// Verifier verifies the access tokens of Public routes. If build leaves it nil, it is one that gets the keys from
	// the app auth.keys_app through the sidecar.
	Verifier *token.Verifier

	config     *config
	describing bool // --help and --print-config: only learn the keys
	failures   []error

	mux        *http.ServeMux
	routes     []*route     // those that the program registered
	front      http.Handler // handles requests before the chassis; the Service itself if nil
	guarded    bool         // there is a route that needs the app token
	public     bool         // there is a route that reads access tokens
	unmatched  *route
	subscriber *sidecar.Subscriber
	topics     []string
	monitor    *subscription.Monitor // of the subscriptions; nil if there are none
	documents  *Documents
	consumes   bool // Consume was called
	durations  metric.Float64Histogram
	tracer     trace.Tracer

	probes   []*probe
	workers  []worker
	started  atomic.Bool // the sidecar answered once
	draining atomic.Bool
	streams  context.Context // ends when the program begins to drain
}

// connection is what the chassis needs of the sidecar.
type connection interface {
	Outbound(ctx context.Context) error
	Subscriptions(ctx context.Context) ([]string, error)
	Store() document.Store
}

// errDescribed ends build when only the configuration keys were needed.
var errDescribed = errors.New("the configuration is described; nothing else is to be done")

func newService(name string, settings Settings, cfg *config, log *slog.Logger, t *telemetry.Telemetry) (*Service, error) {
	s := &Service{
		Name: name, Log: log, Clock: clock.System{}, IDs: id.Random{}, Jitter: rand.Float64, Settings: settings, Telemetry: t,
		config: cfg, mux: http.NewServeMux(), tracer: t.Tracer, streams: context.Background(),
	}
	s.subscriber = sidecar.NewSubscriber(sidecar.SubscriberOptions{
		Token: settings.App.Token, Log: log, Now: func() time.Time { return s.Clock.Now() }, Limit: settings.HTTP.RequestTimeout + handlerGrace,
	})
	var err error
	s.durations, err = t.Meter.Float64Histogram("http.server.request.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of HTTP requests by route and status."))
	if err != nil {
		return nil, fmt.Errorf("making the request histogram: %w", err)
	}
	s.unmatched = newRoute("unmatched", kindUnmatched, nil)
	s.mux.Handle("GET /livez", &endpoint{s, newRoute("GET /livez", kindProbe, s.livez)})
	s.mux.Handle("GET /readyz", &endpoint{s, newRoute("GET /readyz", kindProbe, s.readyz)})
	metrics := t.Handler()
	s.mux.Handle("GET /metrics", &endpoint{s, newRoute("GET /metrics", kindProbe, func(w http.ResponseWriter, r *http.Request) error {
		metrics.ServeHTTP(w, r)
		return nil
	})})
	return s, nil
}

// Configure fills cfg, a pointer to a struct, with the program's own settings and checks them. Tags: mapstructure is
// the name of the key below the root (a nested struct is a section), default is its value as text, validate has rules
// of go-playground/validator, secret:"true" hides the value in output, env is a second variable to read, help is its
// meaning. The environment variable of the key keys.dir is CARAVAN_KEYS_DIR.
//
// Call it first in build and return its error unchanged: with --help and --print-config that is how build ends.
func (s *Service) Configure(cfg any) error {
	if err := s.config.configure(cfg); err != nil {
		return &configError{err}
	}
	if s.describing {
		return errDescribed
	}
	return nil
}

// writer answers a request by itself, as probes and deliveries of events do. An error becomes a problem. After the
// answer has begun, an error is only logged.
type writer = func(w http.ResponseWriter, r *http.Request) error

// writes makes a writer of a handler.
func writes(h request.Handler) writer {
	return func(w http.ResponseWriter, r *http.Request) error {
		answer, err := h(r)
		if err != nil {
			return err
		}
		answer.Write(w)
		return nil
	}
}

// Public registers a route for the gateway. The pattern is one of http.ServeMux with a method and the known query
// parameters: "POST /v1/orders", "GET /v1/orders?limit&cursor" (see request.SplitPattern). A request with any other
// query is refused before the handler, so the handler may rely on r.URL.Query(). Like every route it needs the app
// token, which only the sidecar has. If there is a bearer token it is verified, and its claims are in the context: see
// Caller. An invalid token is refused even if the handler does not need one.
func (s *Service) Public(pattern string, h request.Handler) {
	s.public = true
	s.route(pattern, kindPublic, writes(h))
}

// Long is Public without a time limit. Its context ends when the client disconnects or the program begins to stop.
func (s *Service) Long(pattern string, h request.Handler) {
	s.public = true
	s.route(pattern, kindLong, writes(h))
}

// Anonymous is Public for calls that ignore access tokens. A client may send an expired token by habit, which must not
// prevent it from getting a new one.
func (s *Service) Anonymous(pattern string, h request.Handler) {
	s.route(pattern, kindAnonymous, writes(h))
}

// Internal registers a route for other services, which call it through the sidecars. Its pattern is as for Public.
func (s *Service) Internal(pattern string, h request.Handler) {
	s.route(pattern, kindInternal, writes(h))
}

// Front puts a handler before everything else. It gets every request unchanged, before path cleaning, guards, limits,
// tracing and logging of the chassis. It may pass requests on to the Service, for example /livez and /readyz. The
// gateway is built on it.
func (s *Service) Front(h http.Handler) { s.front = h }

// Background runs f from when the sidecar is ready until the program begins to stop; then its context ends. After an
// error or a panic f runs again, with a growing pause. If f returns nil before its context ended, it is finished.
func (s *Service) Background(name string, f func(ctx context.Context) error) {
	s.workers = append(s.workers, worker{name: name, run: f})
}

// BackgroundLast is Background for workers that requests and other workers depend on, such as the relay of events. It
// is stopped last, after requests and other workers have ended. The program then waits until it returns.
func (s *Service) BackgroundLast(name string, f func(ctx context.Context) error) {
	s.workers = append(s.workers, worker{name: name, run: f, last: true})
}

// Ready adds a condition to /readyz. The check has a timeout of two seconds; a success is valid for one.
func (s *Service) Ready(name string, check func(ctx context.Context) error) {
	s.probes = append(s.probes, &probe{name: name, check: check, believed: probeBelieved, clock: s.Clock})
}

func (s *Service) route(pattern string, kind kind, h writer) {
	s.guarded = true
	pattern, parameters := request.SplitPattern(pattern)
	rt := newRoute(pattern, kind, h)
	rt.parameters = parameters
	s.mux.Handle(pattern, &endpoint{s, rt})
	s.routes = append(s.routes, rt)
}
