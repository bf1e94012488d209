package tracesink

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

func export(t *testing.T, sink *Sink, service string, spans ...*trace.Span) {
	t.Helper()
	name := &common.KeyValue{Key: "service.name", Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: service}}}
	raw, err := proto.Marshal(&collector.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{
		Resource:   &resource.Resource{Attributes: []*common.KeyValue{name}},
		ScopeSpans: []*trace.ScopeSpans{{Spans: spans}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(sink.URL()+"/v1/traces", "application/x-protobuf", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("the sink answered %s", response.Status)
	}
}

func span(id, parent byte, name string) *trace.Span {
	s := &trace.Span{TraceId: bytes.Repeat([]byte{1}, 16), SpanId: bytes.Repeat([]byte{id}, 8), Name: name, StartTimeUnixNano: uint64(id)}
	if parent != 0 {
		s.ParentSpanId = bytes.Repeat([]byte{parent}, 8)
	}
	return s
}

func TestTraceIsWhole(t *testing.T) {
	sink := New()
	defer sink.Close()
	export(t, sink, "orders", span(2, 1, "place"), span(4, 3, "lost"))
	export(t, sink, "gateway", span(1, 0, "POST /v1/orders"))
	spans := sink.Trace(strings.Repeat("01", 16))
	if got := Services(spans); !slices.Equal(got, []string{"gateway", "orders"}) {
		t.Errorf("services %v", got)
	}
	if roots := Roots(spans); len(roots) != 1 || roots[0].Name != "POST /v1/orders" {
		t.Errorf("roots %v", roots)
	}
	if orphans := Orphans(spans); len(orphans) != 1 || orphans[0].Name != "lost" {
		t.Errorf("orphans %v", orphans)
	}
	export(t, sink, "orders", span(3, 2, "found"))
	if orphans := Orphans(sink.Trace(strings.Repeat("01", 16))); len(orphans) != 0 {
		t.Errorf("orphans %v", orphans)
	}
	if drawn := Render(sink.Trace(strings.Repeat("01", 16))); !strings.Contains(drawn, "      orders: lost") {
		t.Errorf("drawn:\n%s", drawn)
	}
}
