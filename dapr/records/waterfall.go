package records

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Waterfall draws the spans of a trace as a tree with a bar for each, in width columns. Spans of the same name beside each
// other, such as reads of documents, are one line with their number, unless all is set.
func Waterfall(out io.Writer, spans []Row, width int, all bool) error {
	if len(spans) == 0 {
		return nil
	}
	w := newWaterfall(spans)
	w.draw(all)
	return w.write(out, width)
}

// Bars are the spans of a trace as Waterfall draws them, in its order. lost is how many have a parent that is missing.
func Bars(spans []Row, all bool) (bars []Bar, lost int) {
	if len(spans) == 0 {
		return nil, 0
	}
	w := newWaterfall(spans)
	w.draw(all)
	return w.lines, w.lost
}

// draw makes the lines.
func (w *waterfall) draw(all bool) {
	w.folding = !all
	for _, root := range w.roots {
		w.walk(root, 0)
	}
	for _, span := range w.spans { // those that are left are their own ancestors
		if len(w.children[span.ParentID]) > 0 {
			w.walk(span, 0)
		}
	}
}

// waterfall is a drawing of one trace.
type waterfall struct {
	children   map[string][]Row
	spans      []Row // all, by time
	roots      []Row // and spans whose parent is missing
	lost       int   // of the roots, those whose parent is missing
	start, end time.Time
	folding    bool
	lines      []Bar
}

// Bar is one line of a waterfall: a span, or several of the same name beside each other.
type Bar struct {
	Span       Row // the first
	Depth      int // how many spans are above it
	Count      int // of the spans
	Start, End time.Time
}

// label is the text before the bar.
func (b *Bar) label() string {
	text := strings.Repeat("  ", b.Depth) + b.Span.Instance + ": " + printable(b.Span.Message)
	if b.Count > 1 {
		text += fmt.Sprintf(" (%d times)", b.Count)
	}
	return text
}

func newWaterfall(spans []Row) *waterfall {
	spans = slices.Clone(spans)
	slices.SortStableFunc(spans, Order)
	known := make(map[string]bool, len(spans))
	// An exporter sends a span again when it gets no answer.
	spans = slices.DeleteFunc(spans, func(s Row) bool {
		doubled := known[s.SpanID]
		known[s.SpanID] = true
		return doubled
	})
	w := &waterfall{children: make(map[string][]Row), start: spans[0].Time, spans: spans}
	for _, s := range spans {
		if end := s.Time.Add(s.Duration); end.After(w.end) {
			w.end = end
		}
		switch {
		case s.ParentID == "" || s.ParentID == s.SpanID:
			w.roots = append(w.roots, s)
		case !known[s.ParentID]:
			w.lost++
			w.roots = append(w.roots, s)
		default:
			w.children[s.ParentID] = append(w.children[s.ParentID], s)
		}
	}
	return w
}

// walk adds a span and those below it. Each is removed when it was drawn, so spans that are their own ancestors end.
func (w *waterfall) walk(span Row, depth int) {
	children := w.children[span.SpanID]
	delete(w.children, span.SpanID)
	w.lines = append(w.lines, Bar{Span: span, Depth: depth, Count: 1, Start: span.Time, End: span.Time.Add(span.Duration)})
	for len(children) > 0 {
		same := w.sameAs(children)
		if same < 3 {
			w.walk(children[0], depth+1)
			children = children[1:]
			continue
		}
		w.lines = append(w.lines, w.fold(children[:same], depth+1))
		children = children[same:]
	}
}

// sameAs counts the first spans that may be one line: of one process and name, and without any below them.
func (w *waterfall) sameAs(spans []Row) int {
	n := 0
	for w.folding && n < len(spans) && spans[n].Instance == spans[0].Instance && spans[n].Message == spans[0].Message &&
		len(w.children[spans[n].SpanID]) == 0 && !spans[n].Failed {
		n++
	}
	return n
}

func (w *waterfall) fold(spans []Row, depth int) Bar {
	b := Bar{Span: spans[0], Depth: depth, Count: len(spans), Start: spans[0].Time}
	for _, s := range spans {
		if end := s.Time.Add(s.Duration); end.After(b.End) {
			b.End = end
		}
	}
	return b
}

// printable replaces what would move the cursor of a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, text)
}

// write writes the lines: where each span starts, how long it took, and its bar.
func (w *waterfall) write(out io.Writer, width int) error {
	longest := 0
	for _, b := range w.lines {
		longest = max(longest, len([]rune(b.label())))
	}
	const numbers, least = 22, 16
	longest = max(20, min(longest, width-numbers-least))
	columns := max(least, width-numbers-longest)
	total := max(w.end.Sub(w.start), 1)
	var text strings.Builder
	fmt.Fprintf(&text, "%d spans in %s, from %s", len(w.spans), short(total), w.start.Local().Format("2006-01-02 15:04:05.000"))
	if w.lost > 0 {
		fmt.Fprintf(&text, "; the parents of %d are missing", w.lost)
	}
	text.WriteByte('\n')
	for _, b := range w.lines {
		mark := "█"
		if b.Span.Failed {
			mark = "✗"
		}
		from := scaled(b.Start.Sub(w.start), total, columns)
		to := max(from+1, scaled(b.End.Sub(w.start), total, columns))
		from = min(from, columns-1)
		to = min(to, columns)
		fmt.Fprintf(&text, "%s %9s %9s  %s%s\n", fit(b.label(), longest), "+"+short(b.Start.Sub(w.start)), short(b.End.Sub(b.Start)),
			strings.Repeat(" ", from), strings.Repeat(mark, max(1, to-from)))
	}
	_, err := io.WriteString(out, text.String())
	if err != nil {
		return fmt.Errorf("showing a trace: %w", err)
	}
	return nil
}

// scaled converts a time to a number of columns.
func scaled(at, total time.Duration, columns int) int {
	return int(float64(at) / float64(total) * float64(columns))
}

// fit makes a text exactly so wide.
func fit(text string, width int) string {
	letters := []rune(text)
	if len(letters) > width {
		return string(letters[:width-1]) + "…"
	}
	return text + strings.Repeat(" ", width-len(letters))
}

// short is a duration with about three digits.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// ByTrace splits spans by their trace, the earliest trace first.
func ByTrace(spans []Row) [][]Row {
	byID := make(map[string][]Row)
	for _, s := range spans {
		byID[s.Trace] = append(byID[s.Trace], s)
	}
	var all [][]Row
	for _, trace := range byID {
		slices.SortStableFunc(trace, Order)
		all = append(all, trace)
	}
	slices.SortFunc(all, func(a, b []Row) int {
		return cmp.Or(a[0].Time.Compare(b[0].Time), cmp.Compare(a[0].Trace, b[0].Trace))
	})
	return all
}
