package records

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Query says which log lines somebody wants. An empty field asks for nothing. The same query works on the store, by
// LogsQL, and on lines from files, by Match.
type Query struct {
	Correlation, Trace, User string
	Order                    string // or another aggregate
	App, Instance            string
	Level                    Level // and above
	Since                    time.Time
	// Correlations are correlation ids. Lines with one of them are wanted besides those of Order.
	Correlations []string
}

// atLeast are the levels from q.Level up.
func (q *Query) atLeast() []Level {
	levels := Levels()
	return levels[max(0, slices.Index(levels, q.Level)):]
}

// Match reports whether a line is wanted.
func (q *Query) Match(r *Row) bool {
	switch {
	case r.Kind != Log,
		q.Correlation != "" && !r.mentions(r.Correlation, q.Correlation),
		q.Trace != "" && !r.mentions(r.Trace, q.Trace),
		q.User != "" && !r.mentions(r.User, q.User),
		q.App != "" && r.App != q.App,
		q.Instance != "" && r.Instance != q.Instance,
		q.Level != "" && !slices.Contains(q.atLeast(), r.Level),
		!q.Since.IsZero() && r.Time.Before(q.Since):
		return false
	}
	return q.Order == "" || r.mentions(r.Aggregate, q.Order) || r.Correlation != "" && slices.Contains(q.Correlations, r.Correlation)
}

// mentions reports whether an id of the line is the given one. A line of text has no fields, so it has to contain the id as a
// word.
func (r *Row) mentions(id, wanted string) bool {
	return id == wanted || r.Line == "" && r.Kind == Log && hasWord(r.Message, wanted)
}

// hasWord reports whether a text contains a word: no letter, digit or underscore is before and after it.
func hasWord(text, word string) bool {
	for from := 0; ; {
		at := strings.Index(text[from:], word)
		if at < 0 {
			return false
		}
		at += from
		end := at + len(word)
		if (at == 0 || !isWord(text[at-1])) && (end == len(text) || !isWord(text[end])) {
			return true
		}
		from = at + 1
	}
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// LogsQL is the query in the language of the store.
func (q *Query) LogsQL() string {
	filters := []string{equal(colKind, string(Log))}
	add := func(value, filter string) {
		if value != "" {
			filters = append(filters, filter)
		}
	}
	add(q.Correlation, mentioned(ColumnCorrelation, q.Correlation))
	add(q.Trace, mentioned(ColumnTrace, q.Trace))
	add(q.User, mentioned(colUser, q.User))
	add(q.App, equal(colApp, q.App))
	add(q.Instance, equal(colInstance, q.Instance))
	if q.Level != "" {
		var levels []string
		for _, level := range q.atLeast() {
			levels = append(levels, string(level))
		}
		filters = append(filters, in(colLevel, levels))
	}
	if q.Order != "" {
		order := mentioned(ColumnAggregate, q.Order)
		if len(q.Correlations) > 0 {
			order = "(" + order + " or " + in(ColumnCorrelation, q.Correlations) + ")"
		}
		filters = append(filters, order)
	}
	return strings.Join(filters, " ")
}

// CausesQL asks for the correlation ids of the lines about an aggregate, such as an order.
func CausesQL(aggregate string) string {
	return equal(colKind, string(Log)) + " " + equal(ColumnAggregate, aggregate) + " " + ColumnCorrelation + ":* | uniq by (" + ColumnCorrelation + ")"
}

// TracesQL asks for the ids of the traces that belong to an id: of a trace, of a request, or of an aggregate such as an order.
func TracesQL(id string) string {
	return "(" + strings.Join([]string{equal(ColumnTrace, id), equal(ColumnCorrelation, id), equal(ColumnAggregate, id)}, " or ") + ") " +
		ColumnTrace + ":* | uniq by (" + ColumnTrace + ")"
}

// AggregatesQL asks for the aggregates, such as orders, of the lines with an id: of a request, a trace or a user.
func AggregatesQL(id string) string {
	return equal(colKind, string(Log)) + " (" + strings.Join([]string{equal(ColumnTrace, id), equal(ColumnCorrelation, id), equal(colUser, id)}, " or ") + ") " +
		ColumnAggregate + ":* | uniq by (" + ColumnAggregate + ")"
}

// SpansQL asks for the spans of traces.
func SpansQL(traces []string) string {
	return equal(colKind, string(Span)) + " " + in(ColumnTrace, traces)
}

// OffsetsQL asks for the places of the lines of a file, from an offset on.
func OffsetsQL(file string, from int64) string {
	return "{" + colFile + "=" + quote(file) + "} " + ColumnOffset + ":>=" + strconv.FormatInt(from, 10) + " | fields " + ColumnOffset
}

func equal(column, value string) string { return column + ":=" + quote(value) }

// mentioned is Row.mentions in the language of the store.
func mentioned(column, id string) string {
	return "(" + equal(column, id) + " or " + equal(colLine, "") + " " + colMessage + ":" + quote(id) + ")"
}

func in(column string, values []string) string {
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = quote(value)
	}
	return column + ":in(" + strings.Join(quoted, ",") + ")"
}

// quote makes a string of LogsQL, which has the strings of Go. Nothing in the value can end it.
func quote(value string) string { return strconv.QuoteToASCII(value) }
