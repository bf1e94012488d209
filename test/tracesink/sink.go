// Package tracesink receives the spans that programs export over OTLP/HTTP, so
// that a test can ask whether a trace is whole.
package tracesink

import (
	"cmp"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"
)

// Span is one span, with ids in lower-case hex; Parent is "" for a root.
type Span struct {
	Trace, ID, Parent string
	Service, Name     string
	Start             time.Time
	Attributes        map[string]string
}

// Sink is an OTLP/HTTP endpoint on a free port of 127.0.0.1. Spans accumulate
// until Close.
type Sink struct {
	server *httptest.Server
	more   []*http.Server // at other addresses

	mu     sync.Mutex
	traces map[string][]Span
}

// New starts a Sink.
func New() *Sink {
	s := &Sink{traces: make(map[string][]Span)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", s.receive)
	mux.HandleFunc("POST /", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }) // metrics and logs
	s.server = httptest.NewServer(mux)
	return s
}

// URL is what OTEL_EXPORTER_OTLP_ENDPOINT has to be.
func (s *Sink) URL() string { return s.server.URL }

// Listen has the sink listen at another address too, as that of this machine in a network of containers, and returns
// its URL there.
func (s *Sink) Listen(address string) (string, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", fmt.Errorf("listening for traces: %w", err)
	}
	server := &http.Server{Handler: s.server.Config.Handler, ReadHeaderTimeout: 5 * time.Second}
	s.more = append(s.more, server)
	go func() { _ = server.Serve(listener) }() // until Close
	return "http://" + listener.Addr().String(), nil
}

// Close ends the sink.
func (s *Sink) Close() {
	for _, server := range s.more {
		_ = server.Close()
	}
	s.server.Close()
}

// Trace returns the spans of a trace so far, in the order they began.
func (s *Sink) Trace(id string) []Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	spans := slices.Clone(s.traces[id])
	slices.SortFunc(spans, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return spans
}

// receive takes one export, as the OTLP specification says: protobuf, perhaps
// compressed.
func (s *Sink) receive(w http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	raw, err := io.ReadAll(body)
	var export collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(raw, &export)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.add(&export)
	answer, err := proto.Marshal(&collector.ExportTraceServiceResponse{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer)
}

func (s *Sink) add(export *collector.ExportTraceServiceRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range export.GetResourceSpans() {
		service := attributes(resource.GetResource().GetAttributes())["service.name"]
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				trace := hex.EncodeToString(span.GetTraceId())
				s.traces[trace] = append(s.traces[trace], Span{
					Trace: trace, ID: hex.EncodeToString(span.GetSpanId()), Parent: hex.EncodeToString(span.GetParentSpanId()),
					Service: service, Name: span.GetName(), Start: time.Unix(0, int64(span.GetStartTimeUnixNano())), //nolint:gosec // nanoseconds fit until 2262
					Attributes: attributes(span.GetAttributes()),
				})
			}
		}
	}
}

func attributes(list []*common.KeyValue) map[string]string {
	values := make(map[string]string, len(list))
	for _, item := range list {
		if text, ok := item.GetValue().GetValue().(*common.AnyValue_StringValue); ok {
			values[item.GetKey()] = text.StringValue
		} else {
			values[item.GetKey()] = item.GetValue().String()
		}
	}
	return values
}

// Orphans are the spans whose parent is not in the trace.
func Orphans(spans []Span) []Span {
	known := make(map[string]bool, len(spans))
	for _, span := range spans {
		known[span.ID] = true
	}
	return slices.DeleteFunc(slices.Clone(spans), func(span Span) bool { return span.Parent == "" || known[span.Parent] })
}

// Roots are the spans without a parent.
func Roots(spans []Span) []Span {
	return slices.DeleteFunc(slices.Clone(spans), func(span Span) bool { return span.Parent != "" })
}

// Services lists the services that took part, sorted.
func Services(spans []Span) []string {
	var services []string
	for _, span := range spans {
		services = append(services, span.Service)
	}
	slices.Sort(services)
	return slices.Compact(services)
}

// Render draws the trace as an indented tree, orphans last.
func Render(spans []Span) string {
	children := make(map[string][]Span)
	orphans := Orphans(spans)
	for _, span := range spans {
		children[span.Parent] = append(children[span.Parent], span)
	}
	var text strings.Builder
	var draw func(span Span, depth int)
	draw = func(span Span, depth int) {
		fmt.Fprintf(&text, "%s%s: %s (%s)\n", strings.Repeat("  ", depth), span.Service, span.Name, span.ID)
		for _, child := range children[span.ID] {
			draw(child, depth+1)
		}
	}
	for _, root := range children[""] {
		draw(root, 0)
	}
	slices.SortFunc(orphans, func(a, b Span) int { return cmp.Compare(a.Parent, b.Parent) })
	for _, orphan := range orphans {
		fmt.Fprintf(&text, "missing parent %s:\n", orphan.Parent)
		draw(orphan, 1)
	}
	return text.String()
}
