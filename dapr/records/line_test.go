package records

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// These are lines as the processes of a stack write them.
const (
	programLine = `{"time":"2026-11-27T09:00:01.123456789Z","level":"INFO","msg":"event","service":"notifications","topic":"orders","event":"orders/0190c8a5-7a1e-5f77-8f0b-0a6c0a3d2f11/2","type":"orders.confirmed.v1","aggregate":"0190c8a5-7a1e-5f77-8f0b-0a6c0a3d2f11","duration_ms":3,"correlation_id":"corr-1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7"}`
	sidecarLine = `{"app_id":"orders","instance":"host-1","level":"warning","msg":"retrying \"pubsub\"","scope":"dapr.runtime","time":"2026-11-27T09:00:01.5Z","type":"log","ver":"1.18.1"}`
	brokerLine  = `{"time":"2026-11-27 09:00:02.204+00:00","level":"notice","msg":"Logging: configured","line":106,"pid":"<0.208.0>","domain":"rabbitmq.prelaunch"}`
	brokerText  = `2026-11-27 09:00:02.204100+00:00 [error] <0.230.0> closing connection`
)

func TestParseLine(t *testing.T) {
	at := func(text string) time.Time {
		parsed, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for name, test := range map[string]struct {
		instance, line string
		want           Row
	}{
		"a program": {"notifications-2", programLine, Row{
			App: "notifications", Level: Info, Message: "event", Time: at("2026-11-27T09:00:01.123456789Z"), SpanID: "00f067aa0ba902b7", Line: programLine,
			IDs: IDs{Correlation: "corr-1", Trace: "4bf92f3577b34da6a3ce929d0e0e4736", Aggregate: "0190c8a5-7a1e-5f77-8f0b-0a6c0a3d2f11"},
		}},
		"a sidecar":     {"orders-daprd", sidecarLine, Row{App: "orders", Level: Warn, Message: `retrying "pubsub"`, Time: at("2026-11-27T09:00:01.5Z"), Line: sidecarLine}},
		"the broker":    {"broker", brokerLine, Row{App: "broker", Level: Info, Message: "Logging: configured", Time: at("2026-11-27T09:00:02.204Z"), Line: brokerLine}},
		"text":          {"broker", brokerText, Row{App: "broker", Level: Error, Message: brokerText, Time: at("2026-11-27T09:00:02.2041Z")}},
		"key=value":     {"x", `time="2026-11-27T09:00:01Z" level=warning msg="a b"`, Row{App: "x", Level: Warn, Message: `time="2026-11-27T09:00:01Z" level=warning msg="a b"`, Time: at("2026-11-27T09:00:01Z")}},
		"a crash":       {"orders", "panic: boom", Row{App: "orders", Level: Error, Message: "panic: boom"}},
		"no object":     {"orders", `{"a":1}{"b":2}`, Row{App: "orders", Message: `{"a":1}{"b":2}`}},
		"nothing":       {"orders", "", Row{App: "orders"}},
		"an order":      {"products", `{"msg":"m","order_id":"o-1","sku":"S","aggregate":"other"}`, Row{App: "products", Message: "m", IDs: IDs{Aggregate: "o-1"}, Line: `{"msg":"m","order_id":"o-1","sku":"S","aggregate":"other"}`}},
		"a user":        {"gateway", `{"msg":"request","subject":"u-1","nested":{"user":"no"},"x":null}`, Row{App: "gateway", Message: "request", IDs: IDs{User: "u-1"}, Line: `{"msg":"request","subject":"u-1","nested":{"user":"no"},"x":null}`}},
		"text of a key": {"a", "runtime=1 [info]", Row{App: "a", Message: "runtime=1 [info]"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := ParseLine(test.instance, test.line)
			if !got.Time.Equal(test.want.Time) {
				t.Errorf("time %s, want %s", got.Time, test.want.Time)
			}
			test.want.Kind, test.want.Instance, test.want.Time = Log, test.instance, got.Time
			if got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
			if got.Text() != test.line {
				t.Errorf("the text is %q", got.Text())
			}
		})
	}
}

func TestAppOf(t *testing.T) {
	for instance, want := range map[string]string{
		"orders": "orders", "orders-daprd": "orders", "orders-2": "orders", "orders-12-daprd": "orders", "broker": "broker", "-2": "-2", "2": "2", "": "",
		"daprd": "daprd", "a2": "a2", "a-b": "a-b",
		"orders-7d9f8b6c5d-bcdfg": "orders", "orders-7d9f8b6c5d-bcdfg-daprd": "orders", "collector-x2z4b": "collector", "broker-0": "broker", "a-bcdef": "a-bcdef",
		"my-shop-7d9f8b6c5d-bcdfg": "my-shop", "orders-7d9f8b6c5d-bcdf": "orders-7d9f8b6c5d-bcdf", "-bcdfg": "-bcdfg",
	} {
		if got := AppOf(instance); got != want {
			t.Errorf("the app of %q is %q, want %q", instance, got, want)
		}
	}
}

func TestMask(t *testing.T) {
	token := "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2ln"
	for text, want := range map[string]string{
		"nothing here": "nothing here",
		`{"path":"/v1/users/ada@caravan.example/x"}`: `{"path":"/v1/users/***/x"}`,
		"to <ada@caravan.example>, rabbit@host":      "to <***>, rabbit@host",
		"Authorization: Bearer abcdef.g":             "Authorization: Bearer ***",
		"token=" + token + "&x=1":                    "token=***&x=1",
		"eyJ":                                        "eyJ",
		`"\u003cada@x.example\u003e"`:                `"\***\u003e"`,
		"a@b.":                                       "***",
		"@b.c":                                       "@b.c",
	} {
		if got := Mask(text); got != want {
			t.Errorf("Mask(%q) = %q, want %q", text, got, want)
		}
	}
}

// seeds are lines for the fuzz targets.
var seeds = []string{
	programLine, sidecarLine, brokerLine, brokerText, "panic: boom", "", "{", `{"a":`, `{"a":"\`, `{"":{},"b":[1,{"c":"}"}],"d":true}`, "{}", `{"msg":"\ud800"}`,
	"time=\xff level=", " [", `{"level":"x","time":"2026-13-01T00:00:00Z"}`, `{"a":1,}`, "{\"msg\":\"\xff\"}", "ada@x.example eyJhbGciOiJFZERTQSJ9.x",
}

// FuzzParseLine checks that each line comes back from the form of the store as it was, and that all JSON objects are read.
func FuzzParseLine(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		row := ParseLine("orders", line)
		if row.Text() != line {
			t.Fatalf("the text of %q is %q", line, row.Text())
		}
		var object map[string]any
		if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &object) == nil && row.Line == "" {
			t.Fatalf("%q was not read as an object", line)
		}
		if strings.HasPrefix(line, "{") && !duplicates(line) {
			if text, ok := object["correlation_id"].(string); ok && row.Correlation != text && strings.ToValidUTF8(row.Correlation, "\ufffd") != text {
				t.Fatalf("the correlation id of %q is %q, want %q", line, row.Correlation, text)
			}
		}
		var stored map[string]any
		encoded := AppendRow(nil, &row)
		if err := json.Unmarshal(encoded, &stored); err != nil {
			t.Fatalf("%q is stored as %q: %v", line, encoded, err)
		}
		if utf8.ValidString(line) && row.Line != "" && stored[colLine] != line {
			t.Fatalf("%q is stored as %q", line, stored[colLine])
		}
		if strings.Count(string(encoded), "\n") != 1 {
			t.Fatalf("%q is stored as %q, which is not one line", line, encoded)
		}
	})
}

// duplicates reports whether the key of the correlation id may be there twice, perhaps in another spelling.
func duplicates(line string) bool {
	return strings.Count(line, "correlation_id") != 1 || strings.Contains(line, `\u`) || strings.Count(strings.ToLower(line), "correlation_id") != 1
}

// FuzzMask checks that masking is stable and leaves nothing that it would mask.
func FuzzMask(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once := Mask(text)
		if again := Mask(once); again != once {
			t.Fatalf("Mask(%q) = %q, and again %q", text, once, again)
		}
	})
}

func BenchmarkParseAndEncode(b *testing.B) {
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		row := ParseLine("notifications", programLine)
		row.File, row.Offset = "0123456789abcdef", 1234567
		out = AppendRow(out[:0], &row)
	}
}
