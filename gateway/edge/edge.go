// Package edge has the steps of every incoming request: the request target is checked, a trace and a correlation id
// begin, the route is found, the caller is counted, identified and admitted, and the service is called. It contains no
// business rule.
package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"caravan/gateway/auth"
	"caravan/gateway/cache"
	"caravan/gateway/limit"
	"caravan/gateway/proxy"
	"caravan/gateway/route"
	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/id"
	"caravan/internal/problem"
	"caravan/internal/token"
)

// RefusedRate is the rate class for requests whose credentials were not accepted, counted by client address.
const RefusedRate = "refused"

// Handler answers a route of the gateway itself. The edge turns its error into a problem.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Forwarder calls services; *proxy.Forwarder is one.
type Forwarder interface {
	Forward(w http.ResponseWriter, r *http.Request, c *proxy.Call) error
	Fetch(r *http.Request, c *proxy.Call, most int64) (*cache.Answer, error)
}

// Settings of an Edge.
type Settings struct {
	Table     *route.Table
	Local     map[string]Handler // by route name, for exactly the routes of app gateway
	Forwarder Forwarder
	Verifier  auth.Verifier
	Limiter   *limit.Limiter // nil: no limits
	Cache     *cache.Cache   // nil: nothing is kept
	Largest   int64          // most bytes of an answer that is kept
	Proxies   int            // how many of our proxies are in front, 0 to 10
	// Concurrent is how many requests may be forwarded at once. Held is how many long polls and Streams how many event
	// streams may be forwarded in addition. Further ones are refused at once, because a client can handle that better than
	// a late answer.
	Concurrent, Held, Streams int64

	Log    *slog.Logger
	Tracer trace.Tracer
	Meter  metric.Meter
	Clock  clock.Clock
	IDs    id.Source
}

// Edge is the gateway's handler.
type Edge struct {
	Settings
	endpoints map[*route.Route]*endpoint
	unmatched *endpoint
	refused   *limit.Class
	security  []field
	running   atomic.Int64
	held      atomic.Int64
	streams   atomic.Int64
	waiting   atomic.Int64 // for the answer of a call that may be shared
	draining  context.Context
	drain     context.CancelFunc
}

// endpoint is a route with everything that can be prepared before the first request.
type endpoint struct {
	name     string // "" when no route matched
	route    *route.Route
	class    *limit.Class // nil: not limited
	local    Handler
	measured *measured
	reads    *reads // nil: not kept in the cache
	changes  bool   // changes what another route has in the cache
}

// New returns the handler. It refuses a route of the gateway without a handler, a handler without a route, and a rate
// class that does not exist.
func New(s Settings) (*Edge, error) {
	if s.Proxies < 0 || s.Proxies > maxHops {
		return nil, fmt.Errorf("there can be 0 to %d trusted proxies, not %d", maxHops, s.Proxies)
	}
	durations, err := newDurations(s.Meter)
	if err != nil {
		return nil, err
	}
	e := &Edge{Settings: s, endpoints: make(map[*route.Route]*endpoint), security: securityFields()}
	e.draining, e.drain = context.WithCancel(context.Background())
	counter, err := newReads(s.Meter)
	if err != nil {
		return nil, err
	}
	local, kept := 0, make(map[string]bool)
	for _, r := range s.Table.Routes() {
		one := &endpoint{name: r.Name, route: r, local: s.Local[r.Name], measured: durations.of(r.Method, r.Pattern)}
		if (r.App == route.Gateway) != (one.local != nil) {
			return nil, fmt.Errorf("%s (line %d) belongs to %s, but the gateway's own handler for it is %v", r.Name, r.Line, r.App, one.local != nil)
		}
		if one.local != nil {
			local++
		}
		if one.class, err = e.class(r.Rate); err != nil {
			return nil, fmt.Errorf("%s (line %d): %w", r.Name, r.Line, err)
		}
		if r.Cache != nil {
			one.reads, kept[r.Pattern] = readsOf(counter, r.Pattern), true
		}
		e.endpoints[r] = one
	}
	for r, one := range e.endpoints {
		one.changes = r.Method != http.MethodGet && kept[r.Pattern]
	}
	if local != len(s.Local) {
		return nil, fmt.Errorf("%d handlers of the gateway have no route", len(s.Local)-local)
	}
	return e, e.addUnmatched(durations)
}

// addUnmatched prepares the answers to requests without a route. They count as public requests, so that searching for
// paths is limited too.
func (e *Edge) addUnmatched(durations *durations) (err error) {
	e.unmatched = &endpoint{measured: durations.of("", "")}
	if e.unmatched.class, err = e.class(route.PublicRate); err != nil {
		return err
	}
	e.refused, err = e.class(RefusedRate)
	return err
}

func (e *Edge) class(name string) (*limit.Class, error) {
	if e.Limiter == nil || name == route.Unlimited {
		return nil, nil
	}
	class := e.Limiter.Class(name)
	if class == nil {
		return nil, fmt.Errorf("there is no rate class %q", name)
	}
	return class, nil
}

// exchange is one request and its state.
type exchange struct {
	recorder
	call     proxy.Call
	client   netip.Addr
	endpoint *endpoint
	held     bool
	changed  func()     // nil, or called before the client gets an answer that is no error
	cache    cache.Kind // "" unless the cache answered
	subject  string
	started  time.Time
	span     trace.Span
	err      error // why there is no answer of a service
	dropped  bool  // the body was read without being used
	aborted  bool  // the connection must be broken, because the answer is not complete
	panicked any   // the value of the handler's panic, and its place
	stack    []byte
}

// Drain ends the long polls and the event streams, so that a program that stops does not wait for them. All other requests finish.
func (e *Edge) Drain() { e.drain() }

// ServeHTTP handles one request.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{recorder: recorder{ResponseWriter: w}, started: e.Clock.Now()}
	refusal := e.route(x, r)
	r = e.begin(x, r)
	defer e.end(x, r)
	defer x.rescue() // before end, which decides what a panic becomes
	e.decorate(x, r)
	if refusal == nil {
		refusal = e.admit(x, r)
	} else if limited := e.count(x, e.unmatched.class, e.address(x)); limited != nil {
		refusal = limited
	}
	if refusal != nil {
		e.refuse(x, r, refusal)
	}
}

// route finds the route and stores it in x. If there is none, the error contains the answer.
func (e *Edge) route(x *exchange, r *http.Request) error {
	x.endpoint = e.unmatched
	path, query, err := route.SplitTarget(r.RequestURI)
	if err != nil {
		return problem.Malformed(err.Error())
	}
	match, err := e.Table.Match(r.Method, path)
	var method *route.MethodError
	switch {
	case errors.As(err, &method):
		x.Header()["Allow"] = []string{method.Allow}
		return problem.New(http.StatusMethodNotAllowed, "method-not-allowed", "The method is not allowed", "This path allows "+method.Allow+".")
	case err != nil:
		return problem.NotFound("path")
	}
	x.endpoint = e.endpoints[match.Route]
	x.call.Match, x.call.Query = match, query
	x.call.Timeout, x.held = match.Route.TimeoutOf(query, r.Header)
	x.call.Wait = x.call.Timeout - match.Route.Timeout
	return nil
}

// admit passes the request to its handler or service, or returns why not.
func (e *Edge) admit(x *exchange, r *http.Request) error {
	if key, ok := e.cacheable(x, r); ok {
		return e.cached(x, r, key)
	}
	leave, err := e.enter(x)
	if err != nil {
		return err
	}
	defer leave()
	claims, err := e.identify(x, r)
	if err != nil {
		return err
	}
	if x.call.Match.Route.Body == 0 {
		if err := e.drop(x, r); err != nil {
			return err
		}
	}
	if x.endpoint.local != nil {
		return x.endpoint.local(x, r.WithContext(token.With(r.Context(), claims)))
	}
	if x.call.Match.Route.Stream {
		e.unlimit(x)
		return e.hold(x, r)
	}
	e.extend(x)
	if x.held && x.call.Match.Route.Retry != route.RetryKeyed { // a command is not broken off: its client would have to repeat it
		return e.hold(x, r)
	}
	e.watch(x)
	return e.Forwarder.Forward(x, r, &x.call)
}

// forward forwards a request that was admitted and shares no call.
func (e *Edge) forward(x *exchange, r *http.Request) error {
	leave, err := enter(&e.running, e.Concurrent)
	if err != nil {
		return err
	}
	defer leave()
	e.extend(x)
	return e.Forwarder.Forward(x, r, &x.call)
}

// hold forwards a long poll or an event stream until the program stops.
func (e *Edge) hold(x *exchange, r *http.Request) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(e.draining, cancel)()
	err := e.Forwarder.Forward(x, r.WithContext(ctx), &x.call)
	if errors.Is(err, proxy.ErrCallerLeft) && r.Context().Err() == nil {
		return problem.Unavailable("draining", "This instance is stopping. Repeat the request.", time.Second)
	}
	return err
}

// identify counts the caller and finds out who it is: by address on routes without credentials, by subject on all
// others.
func (e *Edge) identify(x *exchange, r *http.Request) (token.Claims, error) {
	address := e.address(x)
	access := x.call.Match.Route.Access
	if access.Kind == route.Public || access.Kind == route.Optional && !auth.Presented(r) {
		return token.Claims{}, e.count(x, x.endpoint.class, address)
	}
	claims, err := auth.Identify(r, e.Verifier)
	if err != nil {
		if limited := e.count(x, e.refused, address); limited != nil {
			return token.Claims{}, limited
		}
		return token.Claims{}, err
	}
	x.subject, x.call.Authorized = claims.Subject, true
	if x.endpoint.class != nil {
		if err := e.count(x, x.endpoint.class, e.Limiter.Subject(claims.Subject)); err != nil {
			return token.Claims{}, err
		}
	}
	return claims, auth.Permit(access, claims)
}

// count takes one request from a caller's quota and sets the headers that say what is left.
func (e *Edge) count(x *exchange, class *limit.Class, caller limit.Key) error {
	if class == nil {
		return nil
	}
	d := class.Take(caller)
	header := x.Header()
	header["Ratelimit-Policy"] = d.Policy()
	header["Ratelimit"] = []string{d.Field()}
	if d.Allowed {
		return nil
	}
	return problem.TooMany(d.RetryAfter())
}

// enter takes one of the places for requests that are forwarded at once.
func (e *Edge) enter(x *exchange) (leave func(), err error) {
	counter, most := &e.running, e.Concurrent
	switch {
	case x.endpoint.local != nil:
		return func() {}, nil
	case x.held:
		counter, most = &e.held, e.Held
	case x.call.Match.Route.Stream:
		counter, most = &e.streams, e.Streams
	}
	return enter(counter, most)
}

// enter takes a place if there is one.
func enter(counter *atomic.Int64, most int64) (leave func(), err error) {
	if counter.Add(1) > most {
		counter.Add(-1)
		return nil, problem.Unavailable("overloaded", "There are too many requests at the same time.", time.Second)
	}
	return func() { counter.Add(-1) }, nil
}

// refuse writes the answer for an error.
func (e *Edge) refuse(x *exchange, r *http.Request, err error) {
	x.err = err
	if errors.Is(err, proxy.ErrCallerLeft) {
		// A return would send an empty 200, and a client that only closed its sending half would believe it.
		x.aborted = true
		return
	}
	if errors.Is(err, proxy.ErrBody) {
		closeAfter(x.ResponseWriter)
	} else {
		_ = e.drop(x, r) // the reason of the refusal is already known
	}
	var refusal *auth.Refusal
	if errors.As(err, &refusal) && refusal.Challenge != "" {
		x.Header().Set("WWW-Authenticate", refusal.Challenge)
	}
	problem.Write(x, r, err)
}

// begin starts the request's trace and sets its correlation id.
func (e *Edge) begin(x *exchange, r *http.Request) *http.Request {
	ctx := r.Context()
	if route := x.endpoint.route; route != nil && route.Body > 0 {
		// A complete command is executed and answered, even if its client has closed its sending half. net/http treats
		// such a client as one that left.
		ctx = context.WithoutCancel(ctx)
	}
	correlationID := ""
	if sent := r.Header[correlation.Header]; len(sent) == 1 && correlation.Valid(sent[0]) {
		correlationID = sent[0]
	} else {
		correlationID = correlation.New(e.IDs)
	}
	ctx = correlation.With(ctx, correlationID)
	ctx, x.span = e.start(ctx, x, r)
	header := x.Header()
	header[correlation.Header] = []string{correlationID}
	return r.WithContext(ctx)
}

// start begins a trace of our own, because clients must not choose our trace ids or which traces are sampled. The
// client's trace becomes a link, which connects the two.
func (e *Edge) start(ctx context.Context, x *exchange, r *http.Request) (context.Context, trace.Span) {
	name := x.endpoint.name
	if name == "" {
		name = "unmatched"
	}
	options := make([]trace.SpanStartOption, 2, 3)
	options[0], options[1] = trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer)
	if sent := r.Header["Traceparent"]; len(sent) == 1 {
		client := trace.SpanContextFromContext(correlation.Remote(context.Background(), "", sent[0]))
		if client.IsValid() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: client}))
		}
	}
	return e.Tracer.Start(ctx, name, options...)
}
