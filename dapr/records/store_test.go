package records

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// asStored is what the store answers about a row: strings, and the time as text.
func asStored(t *testing.T, row Row) []byte {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(string(AppendRow(nil, &row))))
	decoder.UseNumber()
	var columns map[string]any
	if err := decoder.Decode(&columns); err != nil {
		t.Fatal(err)
	}
	answer := map[string]string{}
	for name, value := range columns {
		switch value := value.(type) {
		case string:
			answer[name] = value
		case json.Number:
			answer[name] = value.String()
		}
	}
	answer[colTime] = row.Time.UTC().Format(time.RFC3339Nano)
	raw, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestRowsComeBack(t *testing.T) {
	at := time.Date(2026, 11, 27, 9, 0, 0, 5, time.UTC)
	for _, row := range []Row{
		{Kind: Log, Time: at, Instance: "orders-2", App: "orders", Level: Warn, Message: "tab\t\"quote\" \\ é 漢", IDs: IDs{"c", "t", "a", "u"}, File: "f", Offset: 42, Line: "{\x01}"},
		{Kind: Log, Time: at, Instance: "broker", App: "broker", Message: "", File: "f"},
		{Kind: Span, Time: at, Instance: "x", App: "x", Message: "GET", IDs: IDs{Trace: "t"}, SpanID: "s", ParentID: "p", Duration: time.Second, SpanKind: "client", Failed: true, Attributes: `{"a":"b"}`},
	} {
		got, err := DecodeRow(asStored(t, row))
		if err != nil {
			t.Fatal(err)
		}
		if got != row {
			t.Errorf("got  %+v\nwant %+v", got, row)
		}
	}
	for _, bad := range []string{"", "{}", `{"_time":"x"}`, `{"_time":"2026-11-27T09:00:00Z","offset":"x"}`} {
		if _, err := DecodeRow([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestAppendPlace(t *testing.T) {
	row := Row{Kind: Span, Time: time.Unix(1, 2).UTC(), Instance: "x", App: "x", Message: "GET", SpanID: "s"}
	placed := row
	placed.File, placed.Offset = `f"`, 77
	got, err := DecodeRow(asStored(t, placed))
	if err != nil || got != placed {
		t.Fatalf("got %+v, %v", got, err)
	}
	var columns map[string]any
	if err := json.Unmarshal(AppendPlace(nil, AppendRow(nil, &row), `f"`, 77), &columns); err != nil || columns[colFile] != `f"` || columns[ColumnOffset] != 77.0 {
		t.Errorf("got %v, %v", columns, err)
	}
	for _, cut := range []string{"", "{", `{"_time":1,"a":"b`, "x}\n"} {
		if got := AppendPlace(nil, []byte(cut), "f", 1); got != nil {
			t.Errorf("half a row becomes %q", got)
		}
	}
}

func TestDistinct(t *testing.T) {
	at := time.Unix(5, 0)
	line := func(instance, file string, offset int64) Row {
		return Row{Kind: Log, Time: at, Instance: instance, File: file, Offset: offset}
	}
	span := func(id, file string) Row { return Row{Kind: Span, Time: at, SpanID: id, File: file} }
	got := Distinct([]Row{line("b", "f", 1), line("a", "f", 9), line("a", "f", 9), line("a", "e", 10), span("2", "x"), span("1", "x"), span("2", "y")})
	want := []Row{span("1", "x"), span("2", "x"), line("a", "e", 10), line("a", "f", 9), line("b", "f", 1)}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestQuery(t *testing.T) {
	at := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	line := Row{Kind: Log, Time: at, Instance: "orders-2", App: "orders", Level: Warn, Line: "{}", IDs: IDs{Correlation: "c", Trace: "t", Aggregate: "a", User: "u"}}
	words := Row{Kind: Log, Time: at, Instance: "broker", App: "broker", Message: "about c-1, not c1"}
	for _, test := range []struct {
		query       Query
		line, words bool
		logsQL      string
	}{
		{Query{}, true, true, `kind:="log"`},
		{Query{Correlation: "c"}, true, true, `kind:="log" (correlation_id:="c" or line:="" _msg:"c")`},
		{Query{Correlation: "c-1"}, false, true, `kind:="log" (correlation_id:="c-1" or line:="" _msg:"c-1")`},
		{Query{Correlation: "about c"}, false, true, `kind:="log" (correlation_id:="about c" or line:="" _msg:"about c")`},
		{Query{Correlation: "bout"}, false, false, `kind:="log" (correlation_id:="bout" or line:="" _msg:"bout")`},
		{Query{Trace: "t", User: "u"}, true, false, `kind:="log" (trace_id:="t" or line:="" _msg:"t") (user_id:="u" or line:="" _msg:"u")`},
		{Query{User: "x"}, false, false, `kind:="log" (user_id:="x" or line:="" _msg:"x")`},
		{Query{App: "orders", Instance: "orders-2"}, true, false, `kind:="log" app:="orders" instance:="orders-2"`},
		{Query{Instance: "orders"}, false, false, `kind:="log" instance:="orders"`},
		{Query{Level: Info}, true, false, `kind:="log" level:in("info","warn","error")`},
		{Query{Level: Error}, false, false, `kind:="log" level:in("error")`},
		{Query{Order: "a"}, true, false, `kind:="log" (aggregate:="a" or line:="" _msg:"a")`},
		{Query{Order: "b", Correlations: []string{"c", "d"}}, true, false, `kind:="log" ((aggregate:="b" or line:="" _msg:"b") or correlation_id:in("c","d"))`},
		{Query{Order: "b", Correlations: []string{"d"}}, false, false, `kind:="log" ((aggregate:="b" or line:="" _msg:"b") or correlation_id:in("d"))`},
		{Query{Since: at}, true, true, `kind:="log"`},
		{Query{Since: at.Add(1)}, false, false, `kind:="log"`},
		{Query{User: "\" or *\n\\é"}, false, false, `kind:="log" (user_id:="\" or *\n\\\u00e9" or line:="" _msg:"\" or *\n\\\u00e9")`},
	} {
		if got := test.query.Match(&line); got != test.line {
			t.Errorf("%+v matches the line: %v", test.query, got)
		}
		if got := test.query.Match(&words); got != test.words {
			t.Errorf("%+v matches the text: %v", test.query, got)
		}
		if got := test.query.LogsQL(); got != test.logsQL {
			t.Errorf("%+v is\n%s, want\n%s", test.query, got, test.logsQL)
		}
	}
	if (&Query{}).Match(&Row{Kind: Span}) {
		t.Error("a span is a line")
	}
}

// FuzzQuote checks that no value ends its string, so that no id changes a query.
func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", `"`, `\`, "\\\"", "a\nb", "\xff", "*", "`", "é\u2028"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		quoted := quote(value)
		inner := quoted[1 : len(quoted)-1]
		for i := 0; i < len(inner); i++ {
			if inner[i] == '\\' {
				i++
			} else if inner[i] == '"' || inner[i] < ' ' || inner[i] > '~' {
				t.Fatalf("%q becomes %s", value, quoted)
			}
		}
	})
}
