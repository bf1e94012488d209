package event

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sample() Event {
	return Event{
		ID: "orders/o1/3", Type: "orders.confirmed.v1", Source: "orders", Subject: "o1", Sequence: 3,
		Time: time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC), CorrelationID: "c-1",
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Data: json.RawMessage(`{"orderId":"o1"}`),
	}
}

func TestTheWireFormKeepsEverything(t *testing.T) {
	b, err := sample().CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(b)
	if err != nil || !reflect.DeepEqual(got, sample()) {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"another specversion":      func(m map[string]any) { m["specversion"] = "0.3" },
		"no type":                  func(m map[string]any) { delete(m, "type") },
		"a type without version":   func(m map[string]any) { m["type"] = "orders.confirmed" },
		"an id of another event":   func(m map[string]any) { m["id"] = "orders/o1/4" },
		"sequence zero":            func(m map[string]any) { m["sequence"] = "0"; m["id"] = "orders/o1/0" },
		"a traceparent off form":   func(m map[string]any) { m["traceparent"] = "x" },
		"a correlation with break": func(m map[string]any) { m["correlationid"] = "a\nb" },
		"data that is no object":   func(m map[string]any) { m["data"] = "text" },
		"no time":                  func(m map[string]any) { delete(m, "time") },
		"a subject with space":     func(m map[string]any) { m["subject"] = "a b" },
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := sample().CloudEvent()
			var m map[string]any
			if err := json.Unmarshal(b, &m); err != nil {
				t.Fatal(err)
			}
			change(m)
			b, _ = json.Marshal(m)
			if _, err := Parse(b); !errors.Is(err, ErrMalformed) {
				t.Errorf("err = %v", err)
			}
		})
	}
	if _, err := Parse([]byte(strings.Repeat(" ", MaxSize+1))); !errors.Is(err, ErrMalformed) {
		t.Errorf("oversize: %v", err)
	}
}

type passing struct{}

func (passing) Error() string   { return "passing" }
func (passing) Temporary() bool { return true }

func TestRetriable(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("bad data"), false},
		{Retry(errors.New("not known yet")), true},
		{Drop(passing{}), false},
		{fmt.Errorf("wrapped: %w", passing{}), true},
		{context.DeadlineExceeded, true},
		{fmt.Errorf("handler: %w", Drop(Retry(errors.New("x")))), false},
	} {
		if got := Retriable(c.err); got != c.want {
			t.Errorf("Retriable(%v) = %v", c.err, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, _ := sample().CloudEvent()
	f.Add(b)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"specversion":"1.0","sequence":1e9}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Parse(b)
		if err != nil {
			return
		}
		again, err := e.CloudEvent()
		if err != nil {
			t.Fatalf("a parsed event cannot be written: %v", err)
		}
		if _, err := Parse(again); err != nil {
			t.Fatalf("what was written cannot be parsed: %v", err)
		}
	})
}

func TestByTypeCallsTheHandlerOfAType(t *testing.T) {
	refused := errors.New("refused")
	var handled []string
	handle := ByType(map[string]Handler{
		"a.v1": func(_ context.Context, e Event) error { handled = append(handled, e.ID); return nil },
		"b.v1": func(context.Context, Event) error { return refused },
	})
	for _, c := range []struct {
		typ  string
		want error
	}{{"a.v1", nil}, {"b.v1", refused}, {"a.v2", nil}, {"", nil}} {
		if err := handle(t.Context(), Event{ID: "id of " + c.typ, Type: c.typ}); !errors.Is(err, c.want) {
			t.Errorf("%q gives %v; want %v", c.typ, err, c.want)
		}
	}
	if len(handled) != 1 || handled[0] != "id of a.v1" {
		t.Errorf("handled are %v", handled)
	}
}
