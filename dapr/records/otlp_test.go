package records

import (
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int64) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: value}}}
}

// export is an export of two spans of one process.
func export(tb testing.TB) []byte {
	tb.Helper()
	raw, err := proto.Marshal(&collector.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{
		Resource: &resource.Resource{Attributes: []*common.KeyValue{text("service.namespace", "caravan"), text("service.name", "orders-2-daprd")}},
		ScopeSpans: []*trace.ScopeSpans{{Spans: []*trace.Span{
			{
				TraceId: []byte("0123456789abcdef"), SpanId: []byte("abcdefgh"), ParentSpanId: []byte("ABCDEFGH"), Name: "CallLocal", Kind: trace.Span_SPAN_KIND_SERVER,
				StartTimeUnixNano: 1_000_000_000, EndTimeUnixNano: 1_250_000_000, Status: &trace.Status{Code: trace.Status_STATUS_CODE_ERROR, Message: "m"},
				Attributes: []*common.KeyValue{
					text("http.route", `/v1/"x"`), number("http.response.status_code", 503), text("db.statement", "secret"), text("enduser.id", "u-1"),
				},
				Events: []*trace.Span_Event{{Name: "exception", Attributes: []*common.KeyValue{text("exception.message", "secret")}}},
			},
			{TraceId: []byte("0123456789abcdef"), SpanId: []byte("ijklmnop"), Name: "root", StartTimeUnixNano: 5, EndTimeUnixNano: 4},
		}}},
	}}})
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestDecodeSpans(t *testing.T) {
	var got []Row
	if err := DecodeSpans(export(t), func(r *Row) { got = append(got, *r) }); err != nil {
		t.Fatal(err)
	}
	const traceID = "30313233343536373839616263646566"
	want := []Row{{
		Kind: Span, Time: time.Unix(1, 0), Instance: "orders-2-daprd", App: "orders", Level: Error, Message: "CallLocal",
		IDs: IDs{Trace: traceID, User: "u-1"}, SpanID: "6162636465666768", ParentID: "4142434445464748", Duration: 250 * time.Millisecond, SpanKind: "server",
		Failed: true, Attributes: `{"http.route":"/v1/\"x\"","http.response.status_code":"503"}`,
	}, {
		Kind: Span, Time: time.Unix(0, 5), Instance: "orders-2-daprd", App: "orders", Message: "root", IDs: IDs{Trace: traceID}, SpanID: "696a6b6c6d6e6f70",
	}}
	if len(got) != len(want) {
		t.Fatalf("%d spans, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got  %+v\nwant %+v", got[i], want[i])
		}
		if encoded := string(AppendRow(nil, &got[i])); strings.Contains(encoded, "secret") {
			t.Errorf("%s is stored", encoded)
		}
	}
}

func TestDecodeSpansRefuses(t *testing.T) {
	raw, err := proto.Marshal(&collector.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{ScopeSpans: []*trace.ScopeSpans{{Spans: []*trace.Span{{Name: "no id"}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	whole := export(t)
	for name, raw := range map[string][]byte{"a span without ids": raw, "half an export": whole[:len(whole)/2], "no protobuf": []byte(`{"resourceSpans":[]}`)} {
		if err := DecodeSpans(raw, func(*Row) {}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// FuzzDecodeSpans checks that the decoder accepts everything that the generated types accept, with the same spans.
func FuzzDecodeSpans(f *testing.F) {
	f.Add(export(f))
	f.Add([]byte{0x0a, 0x02, 0x12, 0x00})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var names []string
		err := DecodeSpans(raw, func(r *Row) {
			names = append(names, r.Message)
			encoded := AppendRow(nil, r)
			if strings.Count(string(encoded), "\n") != 1 {
				t.Fatalf("stored as %q", encoded)
			}
		})
		var want collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(raw, &want) != nil {
			return
		}
		var wanted []string
		for _, r := range want.GetResourceSpans() {
			for _, s := range r.GetScopeSpans() {
				for _, span := range s.GetSpans() {
					wanted = append(wanted, span.GetName())
				}
			}
		}
		if len(names) != len(wanted) {
			t.Fatalf("read %q, want %q", names, wanted)
		}
	})
}

func BenchmarkDecodeSpans(b *testing.B) {
	raw := export(b)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = out[:0]
		_ = DecodeSpans(raw, func(r *Row) { out = AppendRow(out, r) })
	}
}
