package domain_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/notifications/domain"
	orders "caravan/services/orders/contract"
	users "caravan/services/users/contract"
)

func body(t testing.TB, typ, subject string, data any) []byte {
	t.Helper()
	b, err := fact(t, typ, subject, data).CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wrap(inner string) string {
	return `{"specversion":"1.0","id":"x","type":"com.dapr.event.sent","source":"Dapr","topic":"notifications.dead","data_base64":"` +
		base64.StdEncoding.EncodeToString([]byte(inner)) + `"}`
}

func TestReadLetter(t *testing.T) {
	good := string(body(t, users.EventRegistered, "u1", users.Registered{UserID: "u1"}))
	poison := string(body(t, orders.EventConfirmed, "o1", map[string]any{"orderId": "o1", "userId": "u1"}))
	tests := map[string]struct {
		body                 string
		topic, event, reason string // reason is a part of it
		payload              string // "" is the body
	}{
		"exhausted":         {body: good, topic: "users", event: "users/u1/1", reason: "not handled within the attempts allowed"},
		"malformed payload": {body: poison, topic: "orders", event: "orders/o1/1", reason: "total"},
		"missing attribute": {body: `{"specversion":"1.0","id":"orders/o1/1","topic":"orders"}`, topic: "orders", event: "orders/o1/1", reason: "attribute type"},
		"not an object":     {body: `[1]`, reason: "malformed event"},
		"not JSON":          {body: "\xff\x00garbage", reason: "malformed event"},
		"empty":             {body: "", reason: "malformed event"},
		"wrapped garbage":   {body: wrap("garbage"), topic: "notifications.dead", reason: "malformed event", payload: "garbage"},
		"wrapped event":     {body: wrap(good), topic: "users", event: "users/u1/1", reason: "not handled", payload: good},
		"odd members":       {body: `{"topic":7,"id":{},"type":null,"data_base64":"%%"}`, reason: "malformed event"},
		"a huge attribute":  {body: `{"id":"` + strings.Repeat("ü", 500) + `"}`, event: strings.Repeat("ü", 100), reason: "malformed event"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := domain.ReadLetter([]byte(test.body))
			if l.Topic != test.topic || l.EventID != test.event || !strings.Contains(l.Reason, test.reason) {
				t.Errorf("read %+v", l)
			}
			want := test.payload
			if want == "" {
				want = test.body
			}
			if string(l.Payload) != want || l.Size != len(want) || l.Truncated() {
				t.Errorf("payload is %q", l.Payload)
			}
		})
	}
}

func TestALetterIsTheSameByBothRoads(t *testing.T) {
	e := fact(t, users.EventRegistered, "u1", map[string]any{"userId": 7})
	plain := body(t, users.EventRegistered, "u1", map[string]any{"userId": 7})
	// The sidecar adds attributes of its own on the way.
	var pushed map[string]any
	if err := json.Unmarshal(plain, &pushed); err != nil {
		t.Fatal(err)
	}
	pushed["topic"], pushed["pubsubname"] = "users", "pubsub"
	delivered, err := json.Marshal(pushed)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := domain.ReadLetter(plain), domain.ReadLetter(delivered); a.ID != b.ID || a.ID != domain.LetterID(e) {
		t.Errorf("ids %s and %s", a.ID, b.ID)
	}
}

func TestAnOversizedLetterIsKeptInPart(t *testing.T) {
	l := domain.ReadLetter(bytes.Repeat([]byte("x"), domain.PayloadMax+1))
	if len(l.Payload) != domain.PayloadMax || !l.Truncated() || l.Size != domain.PayloadMax+1 {
		t.Errorf("kept %d of %d bytes", len(l.Payload), l.Size)
	}
	if _, err := l.Event(); err == nil {
		t.Error("it could be replayed")
	}
}

// letterModel is what a dead letter should be, kept as simply as can be.
type letterModel struct {
	status   domain.LetterStatus
	attempts int
	note, by string
	done     map[string]domain.Action // by operation
	order    []string                 // operations, oldest first
}

// TestTheLifeOfADeadLetter does anything to a letter in any order, with repeats, and compares it with a model: decisions
// are final, repeats change nothing, nothing is done without a trace, and what is kept has bounds.
func TestTheLifeOfADeadLetter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := &domain.DeadLetter{}
		m := letterModel{done: make(map[string]domain.Action)}
		actions := rapid.IntRange(1, 90).Draw(rt, "actions")
		for n := range actions {
			now := noon.Add(time.Duration(n) * time.Second)
			a := domain.Action{
				Operation: fmt.Sprint("op-", rapid.IntRange(0, 70).Draw(rt, "operation")), At: now,
				By: rapid.SampledFrom([]string{"ada", "bob"}).Draw(rt, "by"), Reason: rapid.SampledFrom([]string{"", "why"}).Draw(rt, "reason"),
			}
			before := snapshot(d)
			kind := rapid.SampledFrom([]string{"receive", "fail", "fail", "fail", "fail", "fail", "fail", "replay", "discard"}).Draw(rt, "kind")
			if n < actions*2/3 && kind != "receive" {
				kind = "fail" // decisions end all, so that they come late
			}
			err := m.do(d, kind, a, now)
			if err != nil && snapshot(d) != before {
				rt.Fatalf("%s changed the letter although it ended in %v", kind, err)
			}
			if err == nil {
				d.Revision++
			}
			m.compare(rt, d)
		}
	})
}

func snapshot(d *domain.DeadLetter) string {
	raw, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// do applies an action to letter and model, and returns what the letter says; it panics when the model disagrees.
func (m *letterModel) do(d *domain.DeadLetter, kind string, a domain.Action, now time.Time) (err error) {
	var want error
	switch known, repeat := m.done[a.Operation]; {
	case kind == "receive" && m.status != "":
		want = document.ErrUnchanged
	case kind == "receive":
	case m.status == "":
		want = document.ErrNotFound
	case repeat && (known.Reason != a.Reason || (known.Kind == domain.ActionDiscarded) != (kind == "discard")):
		want = domain.ErrOperation
	case repeat, kind == "fail" && m.status != domain.LetterOpen, kind == "replay" && m.status == domain.LetterReplayed,
		kind == "discard" && m.status == domain.LetterDiscarded:
		want = document.ErrUnchanged
	case kind == "replay" && m.status == domain.LetterDiscarded:
		want = domain.ErrLetterDiscarded
	case kind == "discard" && m.status == domain.LetterReplayed:
		want = domain.ErrLetterReplayed
	}
	switch kind {
	case "receive":
		err = d.Receive(domain.Letter{ID: "l", Consumer: "notifications", Reason: "died"}, "entry", 7, now)
		a = domain.Action{Operation: "entry", Kind: domain.ActionReceived}
	case "fail":
		a.Outcome = "still dead"
		err, a.Kind = d.Failed(a), domain.ActionFailed
	case "replay":
		err, a.Kind = d.Replayed(a), domain.ActionReplayed
	case "discard":
		err, a.Kind = d.Discard(a), domain.ActionDiscarded
	}
	if !errors.Is(err, want) {
		panic(fmt.Sprintf("%s by %s of a letter that is %q: %v; want %v", kind, a.Operation, m.status, err, want))
	}
	if err == nil {
		m.apply(a)
	}
	return err
}

func (m *letterModel) apply(a domain.Action) {
	m.done[a.Operation] = a
	if m.order = append(m.order, a.Operation); len(m.order) > 50 {
		delete(m.done, m.order[1])
		m.order = slices.Delete(m.order, 1, 2)
	}
	switch a.Kind {
	case domain.ActionReceived:
		m.status, m.attempts = domain.LetterOpen, 7
	case domain.ActionFailed:
		m.attempts++
	case domain.ActionReplayed:
		m.status, m.by = domain.LetterReplayed, a.By
		m.attempts++
	case domain.ActionDiscarded:
		m.status, m.by, m.note = domain.LetterDiscarded, a.By, a.Reason
	}
}

func (m *letterModel) compare(rt *rapid.T, d *domain.DeadLetter) {
	if d.Status != m.status || d.Attempts != m.attempts || d.DecidedBy != m.by || d.Note != m.note || d.DecidedAt.IsZero() != (m.by == "") {
		rt.Fatalf("it is %+v; want %+v", d, m)
	}
	var order []string
	for _, a := range d.History {
		order = append(order, a.Operation)
		if want := m.done[a.Operation]; a.Kind != want.Kind || a.By != want.By && a.Kind != domain.ActionReceived || a.Reason != want.Reason || a.At.IsZero() {
			rt.Fatalf("it remembers %+v; want %+v", a, want)
		}
	}
	if !slices.Equal(order, m.order) {
		rt.Fatalf("it remembers %v; want %v", order, m.order)
	}
	if len(d.History) > 0 && (d.History[0].Kind != domain.ActionReceived || d.History[0].By != "notifications") {
		rt.Fatalf("its history begins with %+v", d.History[0])
	}
}

func TestWhatIsSaidOfAnExhaustedLetter(t *testing.T) {
	good := body(t, users.EventRegistered, "u1", users.Registered{UserID: "u1"})
	l := domain.ReadLetter(good)
	l.Exhausted(0, "")
	if !strings.Contains(l.Reason, "not handled within the attempts allowed") {
		t.Errorf("reason %q", l.Reason)
	}
	l.Exhausted(7, "the store is away")
	if l.Reason != "not handled within 7 attempts: the store is away" {
		t.Errorf("reason %q", l.Reason)
	}
	poison := domain.ReadLetter([]byte("nonsense"))
	if poison.Exhausted(7, "away"); !strings.Contains(poison.Reason, "malformed") {
		t.Errorf("reason %q", poison.Reason)
	}
}

func TestLetterFilter(t *testing.T) {
	d := &domain.DeadLetter{
		Letter: domain.Letter{Consumer: "notifications", Topic: "orders", Type: "orders.confirmed.v2", Reason: "Unknown version"},
		Status: domain.LetterOpen, FirstSeen: noon, LastFailure: "still an unknown thing",
	}
	for _, c := range []struct {
		filter domain.LetterFilter
		fits   bool
	}{
		{domain.LetterFilter{}, true},
		{domain.LetterFilter{Status: domain.LetterOpen, Consumer: "notifications", Topic: "orders", Type: "orders.confirmed.v2", Reason: "unknown VERSION", Since: noon, Until: noon.Add(1)}, true},
		{domain.LetterFilter{Reason: "thing"}, true},
		{domain.LetterFilter{Reason: "payload"}, false},
		{domain.LetterFilter{Status: domain.LetterReplayed}, false},
		{domain.LetterFilter{Consumer: "orders"}, false},
		{domain.LetterFilter{Topic: "users"}, false},
		{domain.LetterFilter{Type: "orders.confirmed"}, false},
		{domain.LetterFilter{Since: noon.Add(1)}, false},
		{domain.LetterFilter{Until: noon}, false},
	} {
		if c.filter.Matches(d) != c.fits {
			t.Errorf("%+v: %v", c.filter, !c.fits)
		}
	}
}

// FuzzReadLetter gives it any bytes: nothing may be refused, grow without bound or be read differently twice.
func FuzzReadLetter(f *testing.F) {
	f.Add(body(f, users.EventRegistered, "u1", users.Registered{UserID: "u1"}))
	f.Add(body(f, orders.EventConfirmed, "o1", map[string]any{"total": "much"}))
	f.Add([]byte(wrap("garbage")))
	f.Add([]byte(wrap(wrap("deeper"))))
	f.Add([]byte("\x00\xff"))
	f.Add([]byte(`{"id":"\ud800","topic":["x"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		l := domain.ReadLetter(body)
		if !id.Valid(l.ID) || l.Reason == "" || len(l.Payload) > domain.PayloadMax || l.Size < len(l.Payload) {
			t.Fatalf("read %+v", l)
		}
		for _, s := range []string{l.Topic, l.EventID, l.Type, l.Subject, l.Reason} {
			if len(s) > 200 || !utf8.ValidString(s) {
				t.Fatalf("attribute %q", s)
			}
		}
		stored, err := json.Marshal(domain.DeadLetter{Letter: l})
		if err != nil {
			t.Fatal(err)
		}
		var back domain.DeadLetter
		if err := json.Unmarshal(stored, &back); err != nil || !bytes.Equal(back.Payload, l.Payload) {
			t.Fatalf("stored as %s: %v", stored, err)
		}
		if again := domain.ReadLetter(body); again.ID != l.ID || again.Reason != l.Reason {
			t.Fatalf("read again as %+v", again)
		}
		if e, err := l.Event(); err == nil && domain.LetterID(e) != l.ID {
			t.Fatalf("the letter of event %s has id %s", e.ID, l.ID)
		}
	})
}
