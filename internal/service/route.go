package service

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"caravan/internal/request"
)

type kind int

const (
	kindPublic kind = iota
	kindLong
	kindAnonymous
	kindInternal
	kindEvent
	kindProbe
	kindUnmatched
)

// String names the method of Service that registers a route of the kind.
func (k kind) String() string {
	return [...]string{"Public", "Long", "Anonymous", "Internal", "event", "probe", "unmatched"}[k]
}

// route is one pattern with everything that is the same for all its requests.
type route struct {
	pattern    string
	kind       kind
	handler    writer
	parameters request.Parameters
	// metricOptions has the attributes of each status that has occurred, from status 100 on. Making an attribute set
	// costs more than recording a duration.
	metricOptions [500]atomic.Pointer[metric.MeasurementOption]
}

func newRoute(pattern string, kind kind, h writer) *route {
	return &route{pattern: pattern, kind: kind, handler: h}
}

// readsQuery reports whether the route refuses unknown query parameters. Probes accept everything that a monitor adds
// to their address; events come from the sidecar.
func (rt *route) readsQuery() bool {
	return rt.readsTokens() || rt.kind == kindAnonymous || rt.kind == kindInternal
}

func (rt *route) bounded() bool { return rt.kind != kindLong }

func (rt *route) readsTokens() bool { return rt.kind == kindPublic || rt.kind == kindLong }

// split returns the method and the path of the pattern.
func (rt *route) split() (method, path string) {
	method, path, found := strings.Cut(rt.pattern, " ")
	if !found {
		return "", method
	}
	return method, path
}

func (rt *route) describe(span trace.Span) {
	method, path := rt.split()
	span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", path))
}

func (rt *route) record(ctx context.Context, durations metric.Float64Histogram, seconds float64, status int) {
	if rt.kind == kindProbe || status < 100 || status >= 600 {
		return
	}
	option := rt.metricOptions[status-100].Load()
	if option == nil {
		method, path := rt.split()
		var made metric.MeasurementOption = metric.WithAttributeSet(attribute.NewSet(
			attribute.String("http.request.method", method), attribute.String("http.route", path),
			attribute.Int("http.response.status_code", status),
		))
		option = &made
		rt.metricOptions[status-100].Store(option)
	}
	durations.Record(ctx, seconds, *option)
}

// exchange is the answer to one request: a writer that remembers what was written.
type exchange struct {
	http.ResponseWriter
	matched bool // one of our routes has accepted the request
	status  int  // 0 until the header is written
	bytes   int64
	subject string // the caller, if there was an access token
}

// Unwrap gives http.ResponseController access to the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// WriteHeader remembers the status. If no route of ours has accepted the request, http.ServeMux writes plain text: only
// its status is kept, and a problem is written instead.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= 200 {
		x.status = status
	}
	if x.matched {
		x.ResponseWriter.WriteHeader(status)
	}
}

// Write counts the bytes.
func (x *exchange) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	if !x.matched {
		return len(p), nil
	}
	n, err := x.ResponseWriter.Write(p)
	x.bytes += int64(n)
	return n, err
}

// Flush sends what was written so far, for handlers that use http.Flusher.
func (x *exchange) Flush() {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	_ = http.NewResponseController(x.ResponseWriter).Flush() // some writers cannot flush; nothing depends on it
}
