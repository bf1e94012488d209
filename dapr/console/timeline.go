package main

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/records"
)

// Kinds of entries of a timeline.
const (
	kindState   = "state"
	kindMoney   = "money"
	kindStock   = "stock"
	kindAttempt = "attempt"
	kindWait    = "wait"
	kindEvent   = "event"
	kindMessage = "message"
	kindLetter  = "dead letter"
	kindWarning = "warning"
)

// entry is one thing that happened to an order.
type entry struct {
	Kind    string
	At, End time.Time // End is At for a moment
	Title   string
	Detail  string
	Who     string // the process that did it, or the person
	Failed  bool
	Count   int // how often it happened, one after the other
	// X and Width are the place of its bar, in thousandths of the time axis.
	X, Width int
}

// Took is how long it lasted, 0 for a moment.
func (e entry) Took() time.Duration { return e.End.Sub(e.At) }

// timeline is what happened to an order, in order of time.
type timeline struct {
	Start, End time.Time // of the axis
	Entries    []entry
	// First and Last are the first and last failed attempt, nil if there are none.
	First, Last *entry
}

// history is all that is known about an order.
type history struct {
	Order    client.Order
	Rows     []records.Row // its log lines and spans
	Messages []client.Delivery
	Letters  []client.DeadLetter
}

// lineFields are the members of log lines that a timeline uses.
type lineFields struct {
	Path     string  `json:"path"`
	Outcome  string  `json:"outcome"`
	Duration float64 `json:"duration_ms"`
	Error    string  `json:"error"`
	Step     string  `json:"step"`
	Attempts int     `json:"attempts"`
	Pause    float64 `json:"pause_ms"`
	Type     string  `json:"type"`
	Channel  string  `json:"channel"`
	Kind     string  `json:"kind"`
}

// makeTimeline puts together what the API and the log lines say about an order.
func makeTimeline(h history, now time.Time) timeline {
	var all []entry
	for _, e := range h.Order.Timeline {
		all = append(all, stateEntry(e))
	}
	for _, row := range h.Rows {
		if row.Kind == records.Log {
			all = append(all, lineEntries(h.Order.ID, row)...)
		}
	}
	for _, m := range h.Messages {
		all = append(all, messageEntry(m))
	}
	for _, l := range h.Letters {
		all = append(all, letterEntry(l))
	}
	inOrder(all)
	endWaits(all, now)
	startAttempts(all)
	inOrder(all)
	all = fold(all)
	t := timeline{Entries: all, Start: h.Order.PlacedAt, End: h.Order.PlacedAt}
	for i := range all {
		e := &all[i]
		if e.Kind == kindAttempt && e.Failed {
			if t.First == nil {
				t.First = e
			}
			t.Last = e
		}
		t.End = later(t.End, e.End)
		if e.At.Before(t.Start) {
			t.Start = e.At
		}
	}
	if !h.Order.Status.Ended() {
		t.End = later(t.End, now)
	}
	t.place()
	return t
}

// inOrder sorts by time.
func inOrder(all []entry) {
	slices.SortStableFunc(all, func(a, b entry) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(rank(a), rank(b)))
	})
}

// startAttempts makes each failed attempt begin where the wait or the change of state before it ended.
func startAttempts(all []entry) {
	var from time.Time
	for i := range all {
		switch e := &all[i]; {
		case e.Kind == kindState || e.Kind == kindWait:
			from = e.End
		case e.Kind == kindAttempt && !from.IsZero() && from.Before(e.End):
			e.At = from
		}
	}
}

// fold makes one entry of those that are the same one after the other, such as requests that were repeated.
func fold(all []entry) []entry {
	var folded []entry
	for _, e := range all {
		e.Count = 1
		if n := len(folded); n > 0 {
			last := &folded[n-1]
			if last.Kind == e.Kind && last.Title == e.Title && last.Detail == e.Detail && last.Who == e.Who && e.Kind != kindState {
				last.Count++
				last.End = later(last.End, e.End)
				continue
			}
		}
		folded = append(folded, e)
	}
	return folded
}

// rank puts a wait behind the attempt that caused it.
func rank(e entry) int {
	if e.Kind == kindWait {
		return 1
	}
	return 0
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// place computes the bars.
func (t *timeline) place() {
	total := max(t.End.Sub(t.Start), time.Millisecond)
	for i := range t.Entries {
		e := &t.Entries[i]
		e.X, e.Width = bar(e.At.Sub(t.Start), e.End.Sub(e.At), total)
	}
}

// bar is the place and width of a bar in thousandths. Each bar can be seen.
func bar(from, length, total time.Duration) (x, width int) {
	const whole, least = 1000, 6
	x = min(int(float64(from)/float64(total)*whole), whole-least)
	return max(x, 0), min(max(int(float64(length)/float64(total)*whole), least), whole-max(x, 0))
}

func stateEntry(e client.TimelineEntry) entry {
	detail := words(e.Detail)
	if e.Note != "" {
		detail = strings.TrimSpace(detail + " “" + e.Note + "”")
	}
	return entry{
		Kind: kindState, At: e.Time, End: e.Time, Title: words(e.Type), Detail: detail, Who: e.By,
		Failed: e.Type == "rejected" || e.Type == "cancelled",
	}
}

func messageEntry(m client.Delivery) entry {
	e := entry{Kind: kindMessage, At: m.CreatedAt, End: m.CreatedAt, Who: "notifications", Title: string(m.Channel) + " " + words(m.Kind) + ": " + string(m.Status), Detail: m.Reason}
	e.Failed = m.Status == client.DeliveryStatusFailed
	if !m.SentAt.IsZero() {
		e.End = later(e.At, m.SentAt)
	}
	if m.Attempts > 1 {
		e.Detail = strings.TrimSpace(e.Detail + " " + plural(m.Attempts, "attempt"))
	}
	return e
}

func letterEntry(l client.DeadLetter) entry {
	return entry{
		Kind: kindLetter, At: l.FirstSeen, End: l.FirstSeen, Who: l.Consumer, Failed: l.Status == client.DeadLetterStatusOpen,
		Title: "could not handle " + cmp.Or(l.Type, l.Topic) + ": " + string(l.Status), Detail: l.Reason,
	}
}

// stockPaths are commands that move stock; those of payments move money.
var stockPaths = []string{"reserve", "commit", "release"}

// lineEntries are what a log line says about an order. Lines of other requests and routine lines say nothing.
func lineEntries(order string, row records.Row) []entry {
	var f lineFields
	if row.Line != "" && json.Unmarshal([]byte(row.Line), &f) != nil {
		f = lineFields{} // a member has another type than in our programs
	}
	took := milliseconds(f.Duration)
	e := entry{At: row.Time.Add(-took), End: row.Time, Who: row.Instance, Detail: f.Error}
	about := row.Aggregate == order
	switch {
	case about && row.Message == "order waits":
		return waitEntries(e, f)
	case about && (row.Message == "command" || row.Message == "command failed"):
		e.Title = cmp.Or(strings.TrimPrefix(f.Path, "/internal/"), row.Message)
		e.Kind, e.Failed = kindMoney, row.Message != "command"
		if slices.Contains(stockPaths, e.Title) {
			e.Kind = kindStock
		}
		switch {
		case e.Failed:
			e.Title += ": no answer"
		case f.Outcome != "":
			e.Title += ": " + words(f.Outcome)
		}
	case about && (row.Message == "event" || row.Message == "event pulled"):
		e.Kind, e.Title = kindEvent, "handled "+f.Type
	case row.Message == "message sent" || row.Message == "message not sent":
		return nil // the messages of the API have it
	case row.Level == records.Warn || row.Level == records.Error:
		e.Kind, e.Title, e.Failed = kindWarning, row.Message, row.Level == records.Error
	default:
		return nil
	}
	return []entry{e}
}

// waitEntries are the failed attempt and the wait after it.
func waitEntries(e entry, f lineFields) []entry {
	e.Kind, e.Failed, e.At = kindAttempt, true, e.End
	e.Title = ordinal(f.Attempts) + " attempt to " + cmp.Or(f.Step, "go on") + " failed"
	pause := milliseconds(f.Pause)
	wait := entry{
		Kind: kindWait, At: e.End, End: e.End.Add(pause), Who: e.Who, Title: "waits " + spanText(pause) + " before the next attempt",
	}
	return []entry{e, wait}
}

// endWaits ends each wait at the next attempt or change of the state, and at the latest now.
func endWaits(all []entry, now time.Time) {
	for i := range all {
		if all[i].Kind != kindWait {
			continue
		}
		for _, next := range all[i+1:] {
			if next.Kind == kindAttempt || next.Kind == kindState || next.Kind == kindMoney || next.Kind == kindStock {
				if next.At.Before(all[i].End) {
					all[i].End = next.At
				}
				break
			}
		}
		if now.Before(all[i].End) {
			all[i].End = later(all[i].At, now)
		}
	}
}

func milliseconds(ms float64) time.Duration {
	const most = float64(24*time.Hour) / float64(time.Millisecond)
	if !(ms > 0) {
		return 0
	}
	return time.Duration(min(ms, most) * float64(time.Millisecond))
}

// ordinal is a position in words, as far as people count with words.
func ordinal(n int) string {
	names := []string{"first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"}
	if n >= 1 && n <= len(names) {
		return names[n-1]
	}
	suffix := "th"
	if n/10%10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}
