package correlation

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestRemotePutsBothIntoTheContext(t *testing.T) {
	ctx := Remote(context.Background(), "the-cause", parent)
	if ID(ctx) != "the-cause" || Traceparent(ctx) != parent {
		t.Errorf("the context has %q and %q", ID(ctx), Traceparent(ctx))
	}
	if sc := trace.SpanContextFromContext(ctx); !sc.IsRemote() || !sc.IsSampled() {
		t.Errorf("the span context is %+v", sc)
	}
	if empty := Remote(context.Background(), "", ""); ID(empty) != "" || Traceparent(empty) != "" {
		t.Errorf("nothing became %q and %q", ID(empty), Traceparent(empty))
	}
	if kept := Remote(ctx, "no spaces allowed", "nonsense"); ID(kept) != "the-cause" || Traceparent(kept) != parent {
		t.Errorf("nonsense replaced it by %q and %q", ID(kept), Traceparent(kept))
	}
}

func TestValid(t *testing.T) {
	for _, good := range []string{"a", "A-1_b.2", strings.Repeat("x", 64)} {
		if !Valid(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"", " ", "a b", "a\n", "ä", `"`, strings.Repeat("x", 65), "a/b"} {
		if Valid(bad) {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestTraceparentIsReadStrictly(t *testing.T) {
	for _, bad := range []string{
		"", "00", parent[:54], parent + "-00", "ff" + parent[2:], strings.ToUpper(parent),
		"00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		strings.ReplaceAll(parent, "-", "_"), parent[:53] + "0g", "0g" + parent[2:],
	} {
		if got := Traceparent(Remote(context.Background(), "", bad)); got != "" {
			t.Errorf("%q was read as %q", bad, got)
		}
	}
	if got := Traceparent(Remote(context.Background(), "", "cc"+parent[2:]+"-later")); got != parent {
		t.Errorf("a later version was read as %q", got)
	}
}

// FuzzTraceparent compares with the propagator of OpenTelemetry: what both accept has the same meaning.
func FuzzTraceparent(f *testing.F) {
	for _, seed := range []string{parent, "cc" + parent[2:] + "-x", "ff" + parent[2:], parent + "-", strings.ToUpper(parent)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parse(s)
		if !ok {
			return
		}
		ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": s})
		want := trace.SpanContextFromContext(ctx)
		if want.IsValid() && (want.TraceID() != got.TraceID() || want.SpanID() != got.SpanID() || want.IsSampled() != got.IsSampled()) {
			t.Errorf("%q is %v, and %v to OpenTelemetry", s, got, want)
		}
		if !got.IsValid() {
			t.Errorf("%q was accepted without being valid", s)
		}
	})
}
