package records

import (
	"strings"
	"testing"
	"time"
)

func span(id, parent, instance, name string, start, took time.Duration) Row {
	return Row{
		Kind: Span, Time: time.Date(2026, 11, 27, 9, 0, 0, 0, time.Local).Add(start), Instance: instance, Message: name,
		IDs: IDs{Trace: "t"}, SpanID: id, ParentID: parent, Duration: took,
	}
}

const ms = time.Millisecond

func drawn(t *testing.T, spans []Row, width int, all bool) string {
	t.Helper()
	var out strings.Builder
	if err := Waterfall(&out, spans, width, all); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestWaterfall(t *testing.T) {
	failed := span("5", "2", "payments", "POST", 60*ms, 40*ms)
	failed.Failed = true
	spans := []Row{
		failed,
		span("1", "", "gateway", "POST /v1/orders", 0, 10*ms),
		span("2", "1", "orders", "driver", 20*ms, 80*ms),
		span("3a", "2", "orders-daprd", "GetState", 20*ms, 5*ms),
		span("3b", "2", "orders-daprd", "GetState", 25*ms, 5*ms),
		span("3c", "2", "orders-daprd", "GetState", 30*ms, 10*ms),
		span("2", "1", "orders", "driver", 20*ms, 80*ms), // sent twice
		span("9", "lost", "products", "re\x1bserve", 50*ms, 0),
	}
	const want = `7 spans in 100 ms, from 2026-11-27 09:00:00.000; the parents of 1 are missing
gateway: POST /v1/orders               +0.0 ms   10.0 ms  ██
  orders: driver                      +20.0 ms   80.0 ms      ████████████████
    orders-daprd: GetState (3 times)  +20.0 ms   20.0 ms      ████
    payments: POST                    +60.0 ms   40.0 ms              ✗✗✗✗✗✗✗✗
products: re?serve                    +50.0 ms    0.0 ms            █
`
	if got := drawn(t, spans, 78, false); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := drawn(t, spans, 78, true); strings.Count(got, "GetState") != 3 || strings.Contains(got, "times") {
		t.Errorf("with all spans:\n%s", got)
	}
}

func TestBars(t *testing.T) {
	spans := []Row{
		span("1", "", "gateway", "POST /v1/orders", 0, 10*ms),
		span("2a", "1", "orders-daprd", "GetState", 1*ms, 1*ms),
		span("2b", "1", "orders-daprd", "GetState", 3*ms, 2*ms),
		span("2c", "1", "orders-daprd", "GetState", 6*ms, 1*ms),
		span("9", "lost", "products", "reserve", 50*ms, 0),
	}
	bars, lost := Bars(spans, false)
	if lost != 1 || len(bars) != 3 {
		t.Fatalf("%d of the parents are missing, and the bars are %+v", lost, bars)
	}
	if b := bars[1]; b.Depth != 1 || b.Count != 3 || b.Span.SpanID != "2a" || b.End.Sub(b.Start) != 6*ms {
		t.Errorf("the folded spans are %+v", b)
	}
	if bars, _ := Bars(spans, true); len(bars) != 5 || bars[3].Count != 1 {
		t.Errorf("all spans are %+v", bars)
	}
	if bars, lost := Bars(nil, false); len(bars) != 0 || lost != 0 {
		t.Errorf("the bars of nothing are %+v", bars)
	}
}

func TestWaterfallOfOddTraces(t *testing.T) {
	if got := drawn(t, nil, 80, false); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	// Each span is the parent of the other: it must end, and show both.
	got := drawn(t, []Row{span("1", "2", "a", "x", 0, 0), span("2", "1", "b", "y", 0, 0)}, 1, false)
	if !strings.Contains(got, "a: x") || !strings.Contains(got, "b: y") {
		t.Errorf("of a circle:\n%s", got)
	}
	if got := drawn(t, []Row{span("1", "1", "a", strings.Repeat("ü", 300), 0, time.Hour)}, 60, false); !strings.Contains(got, "…") || !strings.Contains(got, "3600.00 s") {
		t.Errorf("of a long name:\n%s", got)
	}
}

func TestByTrace(t *testing.T) {
	later, earlier, second := span("1", "", "a", "x", 2*ms, 0), span("2", "", "a", "x", ms, 0), span("3", "", "a", "x", 3*ms, 0)
	later.Trace, second.Trace = "l", "l"
	got := ByTrace([]Row{second, later, earlier})
	if len(got) != 2 || got[0][0].SpanID != "2" || got[1][0].SpanID != "1" || got[1][1].SpanID != "3" {
		t.Errorf("got %v", got)
	}
}
