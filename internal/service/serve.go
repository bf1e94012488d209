package service

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"caravan/internal/correlation"
	"caravan/internal/problem"
	"caravan/internal/token"
)

// appTokenHeader is the header in which the sidecar sends the app token
// (https://docs.dapr.io/operations/security/app-api-token/), in the canonical form of net/http.
const appTokenHeader = "Dapr-Api-Token"

// ServeHTTP serves every request of the program. Tests call it without a listener.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{ResponseWriter: w}
	s.mux.ServeHTTP(x, r)
	if x.matched {
		return
	}
	// The mux answered by itself. Its text is dropped; its status and its Allow header are kept.
	refusal := problem.NotFound("route")
	if x.status == http.StatusMethodNotAllowed {
		refusal = problem.New(x.status, "method-not-allowed", "The method is not allowed here",
			"Allowed: "+x.Header().Get("Allow")+".")
	}
	x.Header().Del("Location") // of a redirect to a cleaned path, which no client of ours needs
	x.status = 0
	s.answer(x, r, s.unmatched, func(http.ResponseWriter, *http.Request) error { return refusal })
}

// endpoint is a route as the mux knows it.
type endpoint struct {
	service *Service
	route   *route
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, ok := w.(*exchange)
	if !ok {
		x = &exchange{ResponseWriter: w}
	}
	e.service.answer(x, r, e.route, e.route.handler)
}

// answer is everything around a handler: identity, trace, limits, guard, panic, problem, metric, log.
func (s *Service) answer(x *exchange, r *http.Request, rt *route, h writer) {
	x.matched = true
	if s.draining.Load() {
		x.Header().Set("Connection", "close") // one by one, because a call on a connection that is closed while idle would be lost
	}
	start := s.Clock.Now()
	ctx := s.identify(x, r, rt)
	ctx, span := s.tracer.Start(ctx, rt.pattern, trace.WithSpanKind(trace.SpanKindServer))
	if span.IsRecording() {
		rt.describe(span)
	}
	ctx, cancel := s.limit(ctx, x, rt)
	defer cancel()

	ctx, err := s.admit(ctx, x, r, rt)
	r = r.WithContext(ctx)
	if err == nil {
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(x, r.Body, s.Settings.HTTP.MaxBody)
		}
		if rt.readsQuery() {
			err = rt.parameters.Check(r.URL.RawQuery)
		}
	}
	if err == nil {
		err = s.call(h, x, r)
	}
	if s.leavesToOthers(x, rt, err) {
		s.Log.WarnContext(r.Context(), "a call is given up, for another replica to answer", "route", rt.pattern, "error", err)
		err = http.ErrAbortHandler
	}
	s.conclude(x, r, err)
	s.report(r, x, rt, span, start)
	if errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler) // net/http then closes the connection, and logs nothing
	}
}

// identify gives the request its correlation id and the caller's trace. Delivered events contain their own ids, and the
// subscriber reads them there. New ids here would be misleading.
func (s *Service) identify(x *exchange, r *http.Request, rt *route) context.Context {
	id := r.Header.Get(correlation.Header)
	if !correlation.Valid(id) {
		id = ""
		if rt.kind != kindEvent && rt.kind != kindProbe {
			id = correlation.New(s.IDs)
		}
	}
	if id != "" {
		x.Header().Set(correlation.Header, id)
	}
	return correlation.Remote(r.Context(), id, r.Header.Get("Traceparent"))
}

// limit limits the time of the request. A stream has no time limit and no deadlines of the connection. It ends with the
// program.
func (s *Service) limit(ctx context.Context, x *exchange, rt *route) (context.Context, context.CancelFunc) {
	if rt.bounded() {
		return context.WithTimeout(ctx, s.Settings.HTTP.RequestTimeout)
	}
	connection := http.NewResponseController(x.ResponseWriter)
	// A writer without support for this, as in tests, has no deadlines.
	_ = connection.SetReadDeadline(time.Time{})
	_ = connection.SetWriteDeadline(time.Time{})
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.streams, cancel)
	return ctx, func() { stop(); cancel() }
}

// admit decides whether the request is accepted, and finds out who sent it.
func (s *Service) admit(ctx context.Context, x *exchange, r *http.Request, rt *route) (context.Context, error) {
	if rt.kind == kindProbe || (rt.kind == kindUnmatched && !s.guarded) {
		return ctx, nil
	}
	presented := r.Header[appTokenHeader]
	if s.Settings.App.Token == "" || len(presented) != 1 ||
		subtle.ConstantTimeCompare([]byte(presented[0]), []byte(s.Settings.App.Token)) != 1 {
		return ctx, problem.Unauthorized("This address answers its sidecar only.")
	}
	if !s.startedSoon(ctx) {
		return ctx, problem.Unavailable("starting", "The service is starting.", time.Second)
	}
	if !rt.readsTokens() {
		return ctx, nil
	}
	raw, err := bearer(r)
	if raw == "" || err != nil {
		return ctx, err
	}
	claims, err := s.Verifier.Verify(ctx, raw)
	if err != nil {
		return ctx, fmt.Errorf("verifying the caller's access token: %w", err)
	}
	x.subject = claims.Subject
	return token.With(ctx, claims), nil
}

// startedSoon waits until the program has started. The call came through the sidecar, so the sidecar is ready and the
// program will soon notice it.
func (s *Service) startedSoon(ctx context.Context) bool {
	for tries := startWait / startPoll; tries > 0 && !s.started.Load(); tries-- {
		if s.Clock.Sleep(ctx, startPoll) != nil {
			return false
		}
	}
	return s.started.Load()
}

// leavesToOthers reports whether a call gets no answer. A program that is stopping may lose its sidecar, and with it
// the store, while calls are in flight. Another replica can answer them: if the connection is closed, the gateway
// repeats calls that are safe to repeat. After an answer with 503 it would not.
func (s *Service) leavesToOthers(x *exchange, rt *route, err error) bool {
	if err == nil || x.status != 0 || !s.draining.Load() || (rt.kind != kindPublic && rt.kind != kindAnonymous && rt.kind != kindInternal) {
		return false
	}
	return problem.From(err).Status == http.StatusServiceUnavailable
}

// panicError is a panic of a handler with its stack.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func (s *Service) call(h writer, x *exchange, r *http.Request) (err error) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		if abort, ok := value.(error); ok && errors.Is(abort, http.ErrAbortHandler) {
			err = http.ErrAbortHandler
			return
		}
		err = &panicError{value, debug.Stack()}
	}()
	return h(x, r)
}

// conclude writes the problem of an error. If the answer has already begun, it logs that the answer is incomplete.
func (s *Service) conclude(x *exchange, r *http.Request, err error) {
	if err == nil || errors.Is(err, http.ErrAbortHandler) {
		return
	}
	ctx := r.Context()
	var panicked *panicError
	if errors.As(err, &panicked) {
		s.Log.ErrorContext(ctx, "handler panicked", "panic", fmt.Sprint(panicked.value), "stack", string(panicked.stack))
	}
	if x.status != 0 {
		if !errors.Is(err, context.Canceled) {
			s.Log.WarnContext(ctx, "answer was cut short", "error", err)
		}
		return
	}
	problem.Write(x, r, err)
}

// report writes the access log, records the duration and ends the span.
func (s *Service) report(r *http.Request, x *exchange, rt *route, span trace.Span, start time.Time) {
	ctx := r.Context()
	status := x.status
	if status == 0 {
		status = http.StatusOK // net/http writes it when the handler wrote nothing
	}
	took := s.Clock.Now().Sub(start)
	rt.record(ctx, s.durations, took.Seconds(), status)
	if span.IsRecording() {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(status))
		}
	}
	span.End()

	level := slog.LevelInfo
	if rt.kind == kindProbe || rt.kind == kindEvent { // the subscriber logs events, with their attributes
		level = slog.LevelDebug
	}
	if !s.Log.Enabled(ctx, level) {
		return
	}
	attributes := [7]slog.Attr{
		slog.String("route", rt.pattern), slog.Int("status", status),
		slog.Float64("duration_ms", math.Round(took.Seconds()*1e6)/1e3), slog.Int64("bytes", x.bytes),
	}
	n := 4
	if x.subject != "" {
		attributes[n] = slog.String("subject", x.subject)
		n++
	}
	if rt.kind == kindUnmatched { // here the route is not what was requested
		attributes[n], attributes[n+1] = slog.String("method", r.Method), slog.String("path", fmt.Sprintf("%.100s", r.URL.Path))
		n += 2
	}
	s.Log.LogAttrs(ctx, level, "request", attributes[:n]...)
}
