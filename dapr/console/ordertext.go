package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"caravan/dapr/records"
)

func plain(n int) string { return strconv.Itoa(n) }

// lineView is a log line as a page shows it.
type lineView struct {
	records.Row
	Attributes string // its other members
}

// standardMembers are those of log lines that a page shows elsewhere or that say nothing about an order.
var standardMembers = []string{
	"time", "level", "msg", "message", "service", "instance", "app_id", "scope", "type", "ver", "correlation_id", "trace_id", "span_id",
}

func viewLines(rows []records.Row) []lineView {
	all := make([]lineView, len(rows))
	for i, row := range rows {
		all[i] = lineView{row, attributesOf(row)}
	}
	return all
}

// attributesOf are the members of a line that is JSON, as key=value, sorted.
func attributesOf(row records.Row) string {
	var members map[string]any
	if json.Unmarshal([]byte(row.Line), &members) != nil {
		return ""
	}
	var all []string
	for key, value := range members {
		text := fmt.Sprint(value)
		if slices.Contains(standardMembers, key) || text == "" {
			continue
		}
		if f, ok := value.(float64); ok {
			text = strconv.FormatFloat(f, 'f', -1, 64)
		}
		if strings.ContainsAny(text, " \t\n") {
			text = strconv.Quote(text)
		}
		all = append(all, key+"="+text)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// traceView is the waterfall of one trace.
type traceView struct {
	ID    string
	Spans int
	Lost  int // spans whose parent is missing
	Start time.Time
	Took  time.Duration
	Bars  []barView
}

// barView is one line of a waterfall.
type barView struct {
	records.Bar
	Took     time.Duration
	After    time.Duration // the start of the trace
	X, Width int           // in thousandths
	Indent   int           // in thousandths of the label's width
}

func viewTraces(spans []records.Row) []traceView {
	var all []traceView
	for _, trace := range records.ByTrace(spans) {
		bars, lost := records.Bars(trace, false)
		if len(bars) == 0 {
			continue
		}
		t := traceView{ID: trace[0].Trace, Spans: len(trace), Lost: lost, Start: bars[0].Start}
		for _, b := range bars {
			if b.Start.Before(t.Start) {
				t.Start = b.Start
			}
			t.Took = max(t.Took, b.End.Sub(t.Start))
		}
		for _, b := range bars {
			one := barView{Bar: b, Took: b.End.Sub(b.Start), After: b.Start.Sub(t.Start), Indent: min(b.Depth, 12)}
			one.X, one.Width = bar(one.After, one.Took, max(t.Took, time.Microsecond))
			t.Bars = append(t.Bars, one)
		}
		all = append(all, t)
	}
	return all
}

func (s *server) showOrderText(w http.ResponseWriter, r *http.Request, sess *session) {
	p := s.openOrder(w, r, sess, callTimeout) // nothing follows later
	if p == nil {
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(orderText(s.viewOrder(sess, p).withRows())))
}

// orderText is all that is known about an order, for a report.
func orderText(v orderView) string {
	var b strings.Builder
	o := v.Order.Value
	fmt.Fprintf(&b, "Order %s: %s %s\n", o.ID, o.Status, words(o.Reason))
	fmt.Fprintf(&b, "Placed %s, changed %s, seen %s\n", moment(o.PlacedAt), moment(o.UpdatedAt), moment(v.Now))
	for _, l := range o.Lines {
		fmt.Fprintf(&b, "  %d × %s %s %s\n", l.Quantity, l.SKU, oneLine(l.Name), l.LineTotal)
	}
	if w := o.Waiting; w != nil {
		fmt.Fprintf(&b, "Waits at %s: %s; %s attempt so far; next one %s (%s)\n", w.Step, oneLine(w.Reason), v.Attempt(), inText(w.NextAttemptAt, v.Now), moment(w.NextAttemptAt))
	}
	b.WriteString("\nTimeline\n")
	for _, e := range v.Timeline.Entries {
		mark := " "
		if e.Failed {
			mark = "!"
		}
		fmt.Fprintf(&b, "%s %s %9s  %-11s %-20s %s", mark, moment(e.At), spanText(e.Took()), e.Kind, oneLine(e.Who), oneLine(e.Title))
		if e.Count > 1 {
			fmt.Fprintf(&b, " (%d times)", e.Count)
		}
		if e.Detail != "" {
			b.WriteString(": " + oneLine(e.Detail))
		}
		b.WriteByte('\n')
	}
	if !v.HasLogs {
		b.WriteString("\nNo store for log lines runs: go run ./dapr up --observe logs\n")
	}
	if v.Rows.Problem != "" {
		fmt.Fprintf(&b, "\nThe log lines could not be read: %s\n", oneLine(v.Rows.Problem))
	}
	if len(v.Lines) > 0 {
		b.WriteString("\nLog lines\n")
	}
	for _, l := range v.Lines {
		fmt.Fprintf(&b, "%s %-20s %-5s %s %s\n", moment(l.Time), l.Instance, l.Level, oneLine(l.Message), oneLine(l.Attributes))
	}
	for _, trace := range records.ByTrace(v.Rows.Value.Spans) {
		fmt.Fprintf(&b, "\nTrace %s: ", trace[0].Trace)
		_ = records.Waterfall(&b, trace, 140, false) // a strings.Builder never fails
	}
	return b.String()
}

// oneLine replaces what would start a line or move the cursor of a terminal.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, text)
}
