package bench

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/dapr/bench/follow"
	"caravan/dapr/client"
)

func TestStreamsAreComparedWithOrders(t *testing.T) {
	order := client.Order{}
	for n, typ := range []string{"placed", "reserved", "authorized", "capturing", "confirmed", "refunding", "refunded"} {
		order.Timeline = append(order.Timeline, client.TimelineEntry{Type: typ, Sequence: int64(n + 1)})
	}
	want := publishedOf(order)
	if !slices.Equal(want, []int64{5, 7}) {
		t.Fatalf("the published statuses are %v", want)
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	confirmed := follow.Status{Status: "confirmed", Sequence: 5, OccurredAt: at, At: at.Add(30 * time.Millisecond)}
	refunded := follow.Status{Status: "refunded", Sequence: 7, OccurredAt: at, At: at.Add(time.Second)}
	for name, test := range map[string]struct {
		got                      []follow.Status
		resumed                  bool
		missing, excused, unkown int
		complete                 bool
	}{
		"all":               {[]follow.Status{confirmed, refunded}, false, 0, 0, 0, true},
		"one is missing":    {[]follow.Status{refunded}, false, 1, 0, 0, false},
		"on a resumed one":  {[]follow.Status{refunded}, true, 1, 1, 0, true},
		"one that is wrong": {[]follow.Status{confirmed, refunded, {Status: "cancelled", Sequence: 8}}, false, 0, 0, 1, false},
	} {
		var r StreamsResult
		r.addOrder(want, test.got, test.resumed)
		if r.MissingStatuses != test.missing || r.MissingResumed != test.excused || r.Unknown != test.unkown || (r.Complete() == nil) != test.complete {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestDelaysAreThoseOfConfirmations(t *testing.T) {
	var r StreamsResult
	at := time.Now()
	for n := range 200 {
		took := time.Duration(200-n) * time.Millisecond
		r.addOrder([]int64{5}, []follow.Status{{Status: "confirmed", Sequence: 5, OccurredAt: at, At: at.Add(took)}}, false)
		r.addOrder([]int64{3}, []follow.Status{{Status: "rejected", Sequence: 3, OccurredAt: at, At: at.Add(time.Hour)}}, false)
	}
	r.addDelays()
	if r.Confirmed != 200 || r.P50 != 101 || r.P95 != 191 || r.P99 != 199 || r.Worst != 200 {
		t.Errorf("got %+v", r)
	}
}

func TestAStreamsResultIsComplete(t *testing.T) {
	for name, test := range map[string]struct {
		seen follow.Seen
		most int
		want bool
	}{
		"all":          {follow.Seen{Opened: 2, Notifications: 3}, 1, true},
		"a gap":        {follow.Seen{Skipped: 1}, 1, false},
		"out of order": {follow.Seen{OutOfOrder: 1}, 1, false},
		"none open":    {follow.Seen{}, 0, false},
	} {
		r := StreamsResult{Asked: 1, OpenAtOnce: test.most}
		if r.addStream(test.seen); (r.Complete() == nil) != test.want {
			t.Errorf("%s: %v", name, r.Complete())
		}
		if r.Interrupted = true; r.Complete() != nil {
			t.Errorf("%s: an interrupted one is incomplete", name)
		}
	}
}

func TestOpenFilesAreCheckedBefore(t *testing.T) {
	if err := enoughFiles(5000, 11_000); err != nil {
		t.Error(err)
	}
	if err := enoughFiles(5000, 10_999); err == nil || !strings.Contains(err.Error(), "ulimit -Hn 11000") {
		t.Errorf("got %v", err)
	}
}

func TestBuyers(t *testing.T) {
	for want, in := range map[int]struct {
		streams  int
		rate     float64
		duration time.Duration
	}{
		5:   {5, 100, time.Minute},
		8:   {5000, 0.1, time.Second},
		375: {5000, 25, 15 * time.Second},
	} {
		if got := buyers(in.streams, in.rate, in.duration); got != want {
			t.Errorf("%+v: %d buyers, want %d", in, got, want)
		}
	}
}

func TestAStreamsResultIsShown(t *testing.T) {
	r := StreamsResult{
		Asked: 500, OpenAtOnce: 499, Resumed: 3, Orders: 20, Rate: 7, Outcomes: map[string]int{"accepted": 20, "no answer": 2},
		Statuses: 21, Notifications: 22, MissingStatuses: 4, MissingResumed: 1, MissingNotifications: 5, OutOfOrder: 6, P50: 1, P95: 2, P99: 3, Worst: 4,
		Before: []ProcessSize{{Name: "gateway", RSS: 10}, {Name: "all", RSS: 10}}, With: []ProcessSize{{Name: "gateway", RSS: 60}, {Name: "all", RSS: 60}},
		Interrupted: true,
	}
	var out bytes.Buffer
	r.Show(&out)
	for _, want := range []string{
		"499 of 500", "no answer 2", "4 statuses (1 of them on resumed streams), 5 notifications", "p50 1.0 ms, p95 2.0 ms, p99 3.0 ms, worst 4.0 ms",
		"INTERRUPTED", "102.4",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}
