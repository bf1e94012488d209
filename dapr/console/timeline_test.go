package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/records"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func logRow(seconds float64, instance, message, members string) records.Row {
	return records.Row{
		Kind: records.Log, Time: at(seconds), Instance: instance, Message: message, Level: records.Info, IDs: records.IDs{Aggregate: "o-1"},
		Line: fmt.Sprintf(`{"msg":%q%s}`, message, members),
	}
}

// retried is an order that was authorized at the third attempt.
func retried() history {
	return history{
		Order: client.Order{ID: "o-1", Status: client.OrderStatusConfirmed, PlacedAt: at(0), UpdatedAt: at(10), Timeline: []client.TimelineEntry{
			{Type: "placed", Time: at(0)}, {Type: "reserved", Time: at(1)}, {Type: "retried", Time: at(6), By: "u-9", Note: "The bank answers."},
			{Type: "confirmed", Time: at(10)},
		}},
		Rows: []records.Row{
			logRow(0.9, "products", "command", `,"path":"/internal/reserve","outcome":"reserved","duration_ms":100`),
			logRow(2, "orders", "order waits", `,"step":"authorize","attempts":1,"pause_ms":1000,"error":"first reason"`),
			logRow(4, "orders", "order waits", `,"step":"authorize","attempts":2,"pause_ms":60000,"error":"last reason"`),
			logRow(9, "payments", "command", `,"path":"/internal/authorize","outcome":"authorized","duration_ms":500`),
			logRow(11, "notifications", "event", `,"type":"orders.confirmed.v1"`),
			logRow(11, "notifications-2", "event pulled", `,"type":"orders.confirmed.v1"`),
			logRow(11, "notifications", "request", ``),
		},
		Messages: []client.Delivery{{Channel: "email", Kind: "order-confirmed", Status: "sent", CreatedAt: at(11), SentAt: at(12)}},
	}
}

func TestTimelineOfARetriedOrder(t *testing.T) {
	line := makeTimeline(retried(), at(100))
	want := []struct {
		kind, title string
		from, to    float64
		failed      bool
	}{
		{kindState, "placed", 0, 0, false},
		{kindStock, "reserve: reserved", 0.8, 0.9, false},
		{kindState, "reserved", 1, 1, false},
		{kindAttempt, "first attempt to authorize failed", 1, 2, true},
		{kindWait, "waits 1.0 s before the next attempt", 2, 3, false},
		{kindAttempt, "second attempt to authorize failed", 3, 4, true},
		{kindWait, "waits 60 s before the next attempt", 4, 6, false}, // staff ended it
		{kindState, "retried", 6, 6, false},
		{kindMoney, "authorize: authorized", 8.5, 9, false},
		{kindState, "confirmed", 10, 10, false},
		{kindEvent, "handled orders.confirmed.v1", 11, 11, false},
		{kindEvent, "handled orders.confirmed.v1", 11, 11, false}, // by the feed
		{kindMessage, "email order-confirmed: sent", 11, 12, false},
	}
	if len(line.Entries) != len(want) {
		t.Fatalf("there are %d entries: %+v", len(line.Entries), line.Entries)
	}
	for i, w := range want {
		e := line.Entries[i]
		if e.Kind != w.kind || e.Title != w.title || !e.At.Equal(at(w.from)) || !e.End.Equal(at(w.to)) || e.Failed != w.failed {
			t.Errorf("entry %d is %+v, want %+v", i, e, w)
		}
	}
	if line.First.Detail != "first reason" || line.Last.Detail != "last reason" {
		t.Errorf("the failures are %v and %v", line.First, line.Last)
	}
	if !line.Start.Equal(at(0)) || !line.End.Equal(at(12)) {
		t.Errorf("the axis is from %s to %s", line.Start, line.End)
	}
	if e := line.Entries[7]; e.Who != "u-9" || !strings.Contains(e.Detail, "The bank answers.") {
		t.Errorf("the intervention is %+v", e)
	}
}

func TestTimelineOfAWaitingOrder(t *testing.T) {
	h := retried()
	h.Order.Status, h.Order.Timeline, h.Rows, h.Messages = client.OrderStatusReserved, h.Order.Timeline[:2], h.Rows[:3], nil
	h.Rows[2] = logRow(2, "orders", "order waits", `,"step":"authorize","attempts":1,"pause_ms":9e99,"error":"x"`)
	line := makeTimeline(h, at(5))
	last := line.Entries[len(line.Entries)-1]
	if last.Kind != kindWait || !last.End.Equal(at(5)) || !line.End.Equal(at(5)) {
		t.Errorf("the wait is %+v on an axis to %s", last, line.End)
	}
}

func TestEqualEntriesAreFolded(t *testing.T) {
	h := history{Order: client.Order{ID: "o-1", Status: client.OrderStatusConfirmed, PlacedAt: at(0)}}
	for i := range 5 {
		row := logRow(float64(i), "payments", "request failed", `,"error":"503"`)
		row.Level = records.Warn
		h.Rows = append(h.Rows, row)
	}
	line := makeTimeline(h, at(9))
	if len(line.Entries) != 1 || line.Entries[0].Count != 5 || line.Entries[0].Took() != 4*time.Second {
		t.Errorf("the entries are %+v", line.Entries)
	}
}

func TestLinesOfOthersAreNoEntries(t *testing.T) {
	row := logRow(1, "orders", "order waits", `,"step":"authorize","attempts":1,"pause_ms":1000`)
	row.Aggregate = "o-2"
	broken := logRow(2, "orders", "command", `,"path":7`)
	line := makeTimeline(history{Order: client.Order{ID: "o-1", Status: "confirmed", PlacedAt: at(0)}, Rows: []records.Row{row}}, at(9))
	if len(line.Entries) != 0 {
		t.Errorf("the entries are %+v", line.Entries)
	}
	if got := lineEntries("o-1", broken); len(got) != 1 || got[0].Title != "command" {
		t.Errorf("a line of another form is %+v", got)
	}
}

func TestBarsAreOnTheAxis(t *testing.T) {
	for _, test := range []struct{ from, length, total time.Duration }{
		{0, 0, 1}, {0, time.Hour, time.Second}, {time.Hour, time.Second, time.Second}, {-time.Second, time.Second, time.Second}, {time.Second, 0, time.Second},
	} {
		x, width := bar(test.from, test.length, test.total)
		if x < 0 || width < 6 || x+width > 1000 {
			t.Errorf("%v: from %d, %d wide", test, x, width)
		}
	}
}

func TestOrdinal(t *testing.T) {
	for n, want := range map[int]string{1: "first", 3: "third", 10: "tenth", 11: "11th", 12: "12th", 21: "21st", 22: "22nd", 103: "103rd", 111: "111th", 0: "0th"} {
		if got := ordinal(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestSpanText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 1500 * time.Microsecond: "1.5 ms", 250 * time.Millisecond: "250 ms", 3 * time.Second: "3.0 s", 61 * time.Second: "61 s", 5 * time.Minute: "5 min",
		3 * time.Hour: "3 h", 72 * time.Hour: "3 days", -time.Second: "-1.0 s",
	} {
		if got := spanText(d); got != want {
			t.Errorf("%d is %q, want %q", d, got, want)
		}
	}
}
