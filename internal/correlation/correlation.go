// Package correlation carries the ids that connect the log lines, events and spans of one request: the correlation id,
// and the W3C trace context (https://www.w3.org/TR/trace-context/).
package correlation

import (
	"context"
	"encoding/hex"

	"go.opentelemetry.io/otel/trace"

	"caravan/internal/id"
)

// Header is the HTTP header that carries the correlation id between client, gateway and services.
const Header = "X-Correlation-Id"

type key struct{}

// With returns a context that carries the correlation id.
func With(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, key{}, id)
}

// ID returns the context's correlation id, or "" if it has none.
func ID(ctx context.Context) string {
	id, _ := ctx.Value(key{}).(string)
	return id
}

// New makes a correlation id.
func New(ids id.Source) string { return ids.New() }

// Valid reports whether s may be a correlation id: 1 to 64 of A-Z a-z 0-9 . _ -. The set is small because the id
// appears in log lines, headers and events of every program.
func Valid(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// Remote puts the correlation id and the span context of another program into ctx. They come from a header, a batched
// command or an event. Invalid or empty ones are left out.
func Remote(ctx context.Context, correlationID, traceparent string) context.Context {
	if Valid(correlationID) {
		ctx = With(ctx, correlationID)
	}
	if sc, ok := parse(traceparent); ok {
		ctx = trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	return ctx
}

// Traceparent returns the W3C traceparent of the context's current span, or "" if it has none.
func Traceparent(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return ""
	}
	traceID, spanID := sc.TraceID(), sc.SpanID()
	out := make([]byte, 0, 55)
	out = append(out, "00-"...)
	out = hex.AppendEncode(out, traceID[:])
	out = append(out, '-')
	out = hex.AppendEncode(out, spanID[:])
	if sc.IsSampled() {
		return string(append(out, "-01"...))
	}
	return string(append(out, "-00"...))
}

// parse reads a traceparent. A version above 00 may have more after the flags (W3C Trace Context, 3.2.4); version ff is
// invalid. OpenTelemetry's propagator has the same result, but it needs a carrier and a header map, which together cost
// more than everything else that the chassis does for a request.
func parse(s string) (trace.SpanContext, bool) {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || !lowerHex(s[:2]) || s[:2] == "ff" {
		return trace.SpanContext{}, false
	}
	if len(s) > 55 && (s[:2] == "00" || s[55] != '-') {
		return trace.SpanContext{}, false
	}
	traceID, err := trace.TraceIDFromHex(s[3:35])
	if err != nil {
		return trace.SpanContext{}, false
	}
	spanID, err := trace.SpanIDFromHex(s[36:52])
	if err != nil || !lowerHex(s[53:55]) {
		return trace.SpanContext{}, false
	}
	var flags [1]byte
	if _, err := hex.Decode(flags[:], []byte(s[53:55])); err != nil {
		return trace.SpanContext{}, false
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID:    traceID,
		SpanID:     spanID,
		TraceFlags: trace.TraceFlags(flags[0]) & trace.FlagsSampled,
		Remote:     true,
	}), true
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}
