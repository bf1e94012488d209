package harness

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"caravan/dapr/client"
	"caravan/internal/money"
	"caravan/internal/problem"
)

func confirmed() client.Order {
	return client.Order{
		ID: "1", UserID: "u", Status: "confirmed", Total: money.New(700, currency),
		Lines:    []client.OrderLine{{SKU: "A", Quantity: 2}, {SKU: "B", Quantity: 1}},
		Timeline: []client.TimelineEntry{{Type: "placed"}, {Type: "reserved"}, {Type: "confirmed"}},
	}
}

func TestOrdersAreComparedWithRequests(t *testing.T) {
	prices := map[string]int64{"A": 200, "B": 300}
	op := &Op{Request: orderRequest{"A": 2, "B": 1}}
	if wrong := compareOrder(op, confirmed(), "u", prices); len(wrong) != 0 {
		t.Errorf("a good order is %v", wrong)
	}
	for name, spoil := range map[string]func(*client.Order){
		"another user":     func(o *client.Order) { o.UserID = "v" },
		"another quantity": func(o *client.Order) { o.Lines[0].Quantity = 3 },
		"a line too few":   func(o *client.Order) { o.Lines = o.Lines[:1] },
		"another total":    func(o *client.Order) { o.Total.Amount++ },
		"no total":         func(o *client.Order) { o.Total = money.Money{} },
		"no end":           func(o *client.Order) { o.Timeline = o.Timeline[:2] },
		"two ends":         func(o *client.Order) { o.Timeline = append(o.Timeline, client.TimelineEntry{Type: "rejected"}) },
	} {
		order := confirmed()
		spoil(&order)
		if wrong := compareOrder(op, order, "u", prices); len(wrong) == 0 {
			t.Errorf("%s is not seen", name)
		}
	}
}

func TestNoticesAreCompared(t *testing.T) {
	order := confirmed()
	order.Timeline = append(order.Timeline, client.TimelineEntry{Type: "refunding"}, client.TimelineEntry{Type: "refunded"})
	want := expectedNotices("u", 2, []client.Order{order})
	good := map[string]int{
		"users.registered.v1 u": 1, "payments.deposited.v1 u": 2, "orders.confirmed.v1 1": 1, "orders.refunded.v1 1": 1, "payments.refunded.v1 u": 1,
	}
	if err := compareNotices(good, want); err != nil {
		t.Fatal(err)
	}
	var forGood *finalError
	good["orders.confirmed.v1 1"] = 2
	if err := compareNotices(good, want); !errors.As(err, &forGood) {
		t.Errorf("a notice told twice is %v", err)
	}
	good["orders.confirmed.v1 1"] = 0
	if err := compareNotices(good, want); err == nil || errors.As(err, &forGood) || !strings.Contains(err.Error(), "orders.confirmed.v1 1: 0 of 1") {
		t.Errorf("a missing notice is %v", err)
	}
	good["orders.confirmed.v1 1"], good["orders.confirmed.v1 2"] = 1, 1
	if err := compareNotices(good, want); !errors.As(err, &forGood) {
		t.Errorf("a notice of nothing is %v", err)
	}
}

func TestRefundsAreCompared(t *testing.T) {
	for _, test := range []struct {
		refunded int64
		outcome  Outcome
		good     bool
	}{
		{100, Acknowledged, true}, {0, Acknowledged, false}, {200, Acknowledged, false},
		{0, Unknown, true}, {100, Unknown, true}, {200, Unknown, false}, {100, Refused, false}, {0, Refused, true},
	} {
		order := confirmed()
		order.Refunded = money.New(test.refunded, currency)
		s := &settler{shop: &shop{}, findings: &findings{}, orders: map[string]client.Order{"1": order}}
		op := s.shop.log.begin("refund", 0, "k", refundRequest{"1", 100})
		op.finish(test.outcome)
		s.checkRefunds()
		if got := len(s.findings.list()) == 0; got != test.good {
			t.Errorf("%+v: %v", test, s.findings.list())
		}
	}
}

func TestCancellationsAreCompared(t *testing.T) {
	for _, test := range []struct {
		status  string
		outcome Outcome
		good    bool
	}{{"cancelled", Acknowledged, true}, {"rejected", Acknowledged, true}, {"confirmed", Acknowledged, false}, {"confirmed", Refused, true}, {"confirmed", Unknown, true}} {
		order := confirmed()
		order.Status = client.OrderStatus(test.status)
		s := &settler{shop: &shop{}, findings: &findings{}, orders: map[string]client.Order{"1": order}}
		s.shop.log.begin("cancel", 0, "", "1").finish(test.outcome)
		s.checkCancels()
		if got := len(s.findings.list()) == 0; got != test.good {
			t.Errorf("%+v: %v", test, s.findings.list())
		}
	}
}

// TestPersistTellsRefusalsFromTheUnknown: a refusal after an attempt without an answer says nothing about that attempt.
func TestPersistTellsRefusalsFromTheUnknown(t *testing.T) {
	refusal, outage := problem.Conflict("order-ended", ""), problem.Unavailable("down", "", 0)
	for name, test := range map[string]struct {
		answers []error
		want    Outcome
	}{
		"success":               {[]error{nil}, Acknowledged},
		"success at last":       {[]error{outage, errors.New("no answer"), nil}, Acknowledged},
		"refusal":               {[]error{refusal}, Refused},
		"refusal after silence": {[]error{outage, refusal}, Unknown},
	} {
		op, calls := &Op{Outcome: Unknown}, 0
		_ = op.persist(t.Context(), time.Minute, func(context.Context) error { calls++; return test.answers[calls-1] })
		if op.outcome() != test.want || calls != len(test.answers) || len(op.Attempts) != calls {
			t.Errorf("%s: %s after %d calls", name, op.outcome(), calls)
		}
	}
	op := &Op{Outcome: Unknown}
	_ = op.persist(t.Context(), time.Millisecond, func(context.Context) error { return outage })
	if op.outcome() != Unknown || client.Status(outage) != http.StatusServiceUnavailable {
		t.Errorf("left alone it is %s", op.outcome())
	}
	op.finish(Acknowledged)
	op.finish(Refused)
	if op.outcome() != Acknowledged {
		t.Error("an acknowledgement was taken back")
	}
}

func TestRequestsAreCounted(t *testing.T) {
	op := &Op{Kind: "order", Outcome: Acknowledged, Attempts: []Attempt{{Error: "EOF"}, {Status: 503, Slug: "down", Error: "x"}, {Status: 409, Error: "y"}, {Status: 200}}}
	got := countRequests([]*Op{op})
	if got.Attempts != 4 || got.Retries != 3 || got.Failed != 2 || got.Failures["order: no answer"] != 1 || got.Failures["order: 503 down"] != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestTimes(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(200-i)*time.Second)
	}
	if got := timesOf(all); got != (Times{Count: 200, P50: 101, P99: 199, Max: 200}) {
		t.Errorf("got %+v", got)
	}
	if got := timesOf(nil).String(); got != "none" {
		t.Error(got)
	}
}

// TestTrendsSeeGrowth: a leak within the life of a process is found. Constant values and restarts are not reported.
func TestTrendsSeeGrowth(t *testing.T) {
	life := func(name string, pid int, files func(i int) float64) (all []sample) {
		for i := range 60 {
			all = append(all, sample{at: time.Duration(i) * time.Minute, name: name, pid: pid, rss: 100 << 20, goroutines: 40, files: files(i)})
		}
		return all
	}
	samples := append(life("level", 1, func(i int) float64 { return 50 + float64(i%3) }), life("leak", 2, func(i int) float64 { return 50 + float64(i) })...)
	samples = append(samples, life("killed", 3, func(int) float64 { return 20 })[:6]...)
	for _, trend := range trends(samples) {
		if want := trend.process == "leak" && trend.measure == "files"; trend.flat == want {
			t.Errorf("%+v", trend)
		}
		if trend.process == "killed" {
			t.Error("a life too short was evaluated")
		}
	}
}
