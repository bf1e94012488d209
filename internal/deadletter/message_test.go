package deadletter_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"caravan/internal/deadletter"
	"caravan/internal/id"
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

func TestReadMessage(t *testing.T) {
	good := string(body(t, "users.registered.v1", "u1", map[string]any{"userId": "u1"}))
	poison := string(body(t, "orders.confirmed.v1", "o1", map[string]any{"orderId": "o1", "userId": "u1"}))
	tests := map[string]struct {
		body                 string
		topic, event, reason string // reason is a part of the letter's reason
		payload              string // "" means the body
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
			l := deadletter.ReadMessage([]byte(test.body), check)
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

func TestAMessageIsTheSamePushedOrPulled(t *testing.T) {
	e := fact(t, "users.registered.v1", "u1", map[string]any{"userId": 7})
	plain := body(t, "users.registered.v1", "u1", map[string]any{"userId": 7})
	// The sidecar adds attributes of its own during delivery.
	var pushed map[string]any
	if err := json.Unmarshal(plain, &pushed); err != nil {
		t.Fatal(err)
	}
	pushed["topic"], pushed["pubsubname"] = "users", "pubsub"
	delivered, err := json.Marshal(pushed)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := deadletter.ReadMessage(plain, check), deadletter.ReadMessage(delivered, check); a.ID != b.ID || a.ID != deadletter.ID(e.ID) {
		t.Errorf("ids %s and %s", a.ID, b.ID)
	}
}

func TestAnOversizedLetterIsKeptInPart(t *testing.T) {
	l := deadletter.ReadMessage(bytes.Repeat([]byte("x"), deadletter.PayloadMax+1), check)
	if len(l.Payload) != deadletter.PayloadMax || !l.Truncated() || l.Size != deadletter.PayloadMax+1 {
		t.Errorf("kept %d of %d bytes", len(l.Payload), l.Size)
	}
	if _, err := l.Event(); err == nil {
		t.Error("it could be replayed")
	}
}

func TestWhatIsSaidOfAnExhaustedLetter(t *testing.T) {
	good := body(t, "users.registered.v1", "u1", map[string]any{"userId": "u1"})
	l := deadletter.ReadMessage(good, check)
	l.Exhausted(0, "")
	if !strings.Contains(l.Reason, "not handled within the attempts allowed") {
		t.Errorf("reason %q", l.Reason)
	}
	l.Exhausted(7, "the store is away")
	if l.Reason != "not handled within 7 attempts: the store is away" {
		t.Errorf("reason %q", l.Reason)
	}
	poison := deadletter.ReadMessage([]byte("nonsense"), check)
	if poison.Exhausted(7, "away"); !strings.Contains(poison.Reason, "malformed") {
		t.Errorf("reason %q", poison.Reason)
	}
}

// FuzzReadMessage reads any bytes: none is refused, the result has a limited size, and a second read gives the same.
func FuzzReadMessage(f *testing.F) {
	f.Add(body(f, "users.registered.v1", "u1", map[string]any{"userId": "u1"}))
	f.Add(body(f, "orders.confirmed.v1", "o1", map[string]any{"total": "much"}))
	f.Add([]byte(wrap("garbage")))
	f.Add([]byte(wrap(wrap("deeper"))))
	f.Add([]byte("\x00\xff"))
	f.Add([]byte(`{"id":"\ud800","topic":["x"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		l := deadletter.ReadMessage(body, check)
		if !id.Valid(l.ID) || l.Reason == "" || len(l.Payload) > deadletter.PayloadMax || l.Size < len(l.Payload) {
			t.Fatalf("read %+v", l)
		}
		for _, s := range []string{l.Topic, l.EventID, l.Type, l.Subject, l.Reason} {
			if len(s) > 200 || !utf8.ValidString(s) {
				t.Fatalf("attribute %q", s)
			}
		}
		stored, err := json.Marshal(deadletter.Letter{Message: l})
		if err != nil {
			t.Fatal(err)
		}
		var back deadletter.Letter
		if err := json.Unmarshal(stored, &back); err != nil || !bytes.Equal(back.Payload, l.Payload) {
			t.Fatalf("stored as %s: %v", stored, err)
		}
		if again := deadletter.ReadMessage(body, check); again.ID != l.ID || again.Reason != l.Reason {
			t.Fatalf("read again as %+v", again)
		}
		if e, err := l.Event(); err == nil && deadletter.ID(e.ID) != l.ID {
			t.Fatalf("the letter of event %s has id %s", e.ID, l.ID)
		}
	})
}
