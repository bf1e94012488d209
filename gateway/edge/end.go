package edge

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"

	"caravan/gateway/limit"
	"caravan/internal/correlation"
	"caravan/internal/problem"
)

const (
	// slowest is the longest answer for which the server's own write deadline is sufficient.
	slowest = 10 * time.Second
	// writing is how long a client may take to receive an answer.
	writing = 10 * time.Second
	// statusCallerLeft is the status in logs and metrics for a request whose caller left before the answer.
	statusCallerLeft = 499
)

// field is a response header with the same value in every answer.
type field struct {
	name  string
	value []string
}

// securityFields are in every answer. The API serves data to programs, so a browser must not sniff, frame, run or cache
// it unless a service says otherwise.
func securityFields() []field {
	return []field{
		{"Cache-Control", []string{"no-store"}},
		{"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'"}},
		{"Cross-Origin-Resource-Policy", []string{"same-origin"}},
		{"Referrer-Policy", []string{"no-referrer"}},
		{"X-Content-Type-Options", []string{"nosniff"}},
	}
}

// decorate sets the headers of every answer. Requests share the values: net/http only reads them, and code that changes
// a header replaces the value.
func (e *Edge) decorate(x *exchange, r *http.Request) {
	header := x.Header()
	for _, f := range e.security {
		header[f.name] = f.value
	}
	if r.TLS != nil { // RFC 6797, section 7.2: not over plain HTTP
		header["Strict-Transport-Security"] = []string{"max-age=31536000"}
	}
	if parent := correlation.Traceparent(r.Context()); parent != "" {
		header["Traceparent"] = []string{parent}
	}
	client := ClientAddress(r.RemoteAddr, r.Header["X-Forwarded-For"], e.Proxies)
	x.client = client
	if client.IsValid() {
		x.call.Client = client.String()
	}
}

// address is the caller's key by address. Callers without a known address, as on a Unix socket, count as one caller.
func (e *Edge) address(x *exchange) limit.Key {
	if !x.client.IsValid() {
		return limit.Address(netip.IPv6Unspecified())
	}
	return limit.Address(x.client)
}

// extend extends the deadlines for a slow answer or a long poll. The read deadline has to move too: net/http watches
// the connection while a handler runs, and treats an expired deadline like a client that left. In tests a writer may
// have no deadlines to extend.
func (e *Edge) extend(x *exchange) {
	if x.call.Timeout <= slowest {
		return
	}
	deadline := e.Clock.Now().Add(x.call.Timeout + writing)
	connection := http.NewResponseController(x.ResponseWriter)
	_ = connection.SetReadDeadline(deadline)
	_ = connection.SetWriteDeadline(deadline)
}

// unlimit takes the deadlines away that an event stream would reach. The forwarder sets one for each part that it sends.
func (e *Edge) unlimit(x *exchange) {
	connection := http.NewResponseController(x.ResponseWriter)
	_ = connection.SetReadDeadline(time.Time{})
	_ = connection.SetWriteDeadline(time.Time{})
}

// rescue records a panic. It must be deferred directly.
func (x *exchange) rescue() {
	switch value := recover(); value {
	case nil:
	case http.ErrAbortHandler:
		x.aborted = true
	default:
		x.panicked, x.stack = value, debug.Stack()
	}
}

// end finishes the request. A panic becomes a 500 if nothing was sent yet, and otherwise breaks the connection. Every
// request leaves one log line, one measurement and one span.
func (e *Edge) end(x *exchange, r *http.Request) {
	if x.panicked != nil {
		e.Log.ErrorContext(r.Context(), "a request panicked", "route", x.endpoint.name, "panic", fmt.Sprint(x.panicked), "stack", string(x.stack))
		if x.aborted = x.status != 0; !x.aborted {
			problem.Write(x, r, problem.Internal())
		}
	}
	status := x.status
	switch {
	case status == 0 && x.aborted:
		status = statusCallerLeft
	case status == 0:
		status = http.StatusOK
	}
	took := e.Clock.Now().Sub(x.started)
	x.endpoint.measured.record(r.Context(), took, status)
	e.log(x, r, status, took)
	if x.span.IsRecording() {
		x.span.SetAttributes(
			attribute.String("http.request.method", r.Method), attribute.String("http.route", x.endpoint.pattern()),
			attribute.Int("http.response.status_code", status), attribute.String("enduser.id", x.subject),
		)
		if status >= http.StatusInternalServerError || x.panicked != nil {
			x.span.SetStatus(codes.Error, http.StatusText(status))
		}
	}
	x.span.End()
	if x.aborted {
		panic(http.ErrAbortHandler) // net/http closes the connection, so the client sees that the answer is incomplete
	}
}

// log writes the access log. It has the route instead of the path, because a path may contain anything.
func (e *Edge) log(x *exchange, r *http.Request, status int, took time.Duration) {
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs,
		slog.String("method", r.Method), slog.String("route", x.endpoint.pattern()), slog.Int("status", status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000), slog.Int64("bytes", x.bytes),
	)
	if x.subject != "" {
		attrs = append(attrs, slog.String("subject", x.subject))
	}
	if x.cache != "" {
		attrs = append(attrs, slog.String("cache", string(x.cache)))
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("reason", x.err.Error()))
	}
	if x.aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	e.Log.LogAttrs(r.Context(), slog.LevelInfo, "request", attrs...)
}

func (p *endpoint) pattern() string {
	if p.route == nil {
		return ""
	}
	return p.route.Pattern
}
