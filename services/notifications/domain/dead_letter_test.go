package domain_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

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

func TestDecisionsAboutADeadLetter(t *testing.T) {
	fresh := func() *domain.DeadLetter {
		d := &domain.DeadLetter{}
		if err := d.Receive(domain.ReadLetter([]byte("x")), "entry", noon); err != nil {
			t.Fatal(err)
		}
		d.Revision = 1
		return d
	}
	d := fresh()
	if err := d.Receive(domain.Letter{}, "other", noon); !errors.Is(err, document.ErrUnchanged) || d.Entry != "entry" || d.Status != domain.LetterOpen {
		t.Errorf("received again: %v, %+v", err, d)
	}
	if err := d.Replayed("staff", noon); err != nil || d.Status != domain.LetterReplayed || d.DecidedBy != "staff" {
		t.Errorf("replayed: %v, %+v", err, d)
	}
	if err := d.Replayed("other", noon); !errors.Is(err, document.ErrUnchanged) || d.DecidedBy != "staff" {
		t.Errorf("replayed again: %v", err)
	}
	if err := d.Discard("why", "staff", noon); !errors.Is(err, domain.ErrLetterReplayed) {
		t.Errorf("discarded what was replayed: %v", err)
	}
	d = fresh()
	if err := d.Discard("why", "staff", noon); err != nil || d.Status != domain.LetterDiscarded || d.Note != "why" {
		t.Errorf("discarded: %v, %+v", err, d)
	}
	if err := d.Discard("else", "other", noon.Add(time.Hour)); !errors.Is(err, document.ErrUnchanged) || d.Note != "why" {
		t.Errorf("discarded again: %v", err)
	}
	if err := d.Replayed("staff", noon); !errors.Is(err, domain.ErrLetterDiscarded) {
		t.Errorf("replayed what was discarded: %v", err)
	}
	none := &domain.DeadLetter{}
	if err := errors.Join(none.Replayed("s", noon), none.Discard("w", "s", noon)); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("decided about nothing: %v", err)
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
