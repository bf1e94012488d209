package sidecar

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"caravan/internal/event"
)

func heartbeat(t *testing.T) string {
	t.Helper()
	raw, err := event.Event{ID: event.ID("listener", "r1", 7), Type: HeartbeatType, Source: "listener", Subject: "r1", Sequence: 7, Time: time.Now()}.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestHeartbeatsAreToldFromEvents(t *testing.T) {
	raw := func(s string) string {
		return `{"id":"1","type":"com.dapr.event.sent","data_base64":"` + base64.StdEncoding.EncodeToString([]byte(s)) + `"}`
	}
	for delivery, want := range map[string]bool{
		heartbeat(t): true, raw(heartbeat(t)): true,
		confirmed(t): false, raw(confirmed(t)): false, raw("nonsense"): false, raw("{}"): false, "": false, "nonsense": false,
		`{"type":"orders.placed.v1","data":{"note":"` + HeartbeatType + `"}}`: false,
	} {
		if got := IsHeartbeat([]byte(delivery)); got != want {
			t.Errorf("%.200s: taken for a heartbeat is %v", delivery, got)
		}
	}
}

func TestHeartbeatsReachNoHandlerAndAreASignOfLife(t *testing.T) {
	now := time.Now()
	s := NewSubscriber(SubscriberOptions{Token: appToken, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	if err := s.Handle("orders", func(context.Context, event.Event) error { t.Error("a heartbeat has come to a handler"); return nil }); err != nil {
		t.Fatal(err)
	}
	dead := s.Raw("listener.dead", func(context.Context, []byte) error { t.Error("a heartbeat is a dead letter"); return nil })
	routes := map[string]http.HandlerFunc{"orders": s.Handler().ServeHTTP, "listener.dead": func(w http.ResponseWriter, r *http.Request) { _ = dead(w, r) }}
	for topic, handler := range routes {
		if !s.Traffic(topic).Last.IsZero() {
			t.Errorf("%s was heard before anything came", topic)
		}
		r := httptest.NewRequest(http.MethodPost, "/events/"+topic, strings.NewReader(heartbeat(t)))
		r.Header.Set(tokenHeader, appToken)
		w := httptest.NewRecorder()
		handler(w, r)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "SUCCESS") {
			t.Errorf("%s: answered %d %s", topic, w.Code, w.Body)
		}
		if got := s.Traffic(topic); !got.Last.Equal(now) || got.InFlight != 0 {
			t.Errorf("%s: the books say %+v", topic, got)
		}
	}
	if got := s.Replicas("listener", now.Add(-time.Minute)); got != 1 {
		t.Errorf("%d replicas are known", got)
	}
	if s.Replicas("listener", now.Add(time.Minute))+s.Replicas("other", now.Add(-time.Minute)) != 0 {
		t.Error("replicas are known that sent nothing")
	}
}

// A message above the limit of a body may become a dead letter too, and base64 makes it larger still. The part that was
// read is kept, because no other place would keep the message.
func TestALargeDeadLetterIsTakenInPart(t *testing.T) {
	now := time.Now()
	s := NewSubscriber(SubscriberOptions{Token: appToken, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	const limit = 1000
	kept := ""
	dead := s.Raw("listener.dead", func(_ context.Context, body []byte) error {
		kept = string(body)
		return nil
	})
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/events/dead", nil)
	r.Body = http.MaxBytesReader(w, io.NopCloser(strings.NewReader(strings.Repeat("x", 2*limit))), limit)
	if err := dead(w, r); err != nil || kept != strings.Repeat("x", limit) || !strings.Contains(w.Body.String(), "SUCCESS") {
		t.Errorf("kept %d bytes, %v, answered %s", len(kept), err, w.Body)
	}
	if got := s.Traffic("listener.dead"); !got.Last.Equal(now) {
		t.Errorf("it was no sign of life: %+v", got)
	}
}

func TestTheBooksHoldTheOldestDelivery(t *testing.T) {
	now := time.Unix(1000, 0)
	books := newTraffic(func() time.Time { return now })
	first := books.begin("orders", "e1")
	now = now.Add(time.Minute)
	second := books.begin("orders", "e2")
	if got := books.of("orders"); got.InFlight != 2 || got.OldestEvent != "e1" || !got.Oldest.Equal(time.Unix(1000, 0)) {
		t.Errorf("with two in flight: %+v", got)
	}
	first()
	if got := books.of("orders"); got.InFlight != 1 || got.OldestEvent != "e2" {
		t.Errorf("with one in flight: %+v", got)
	}
	second()
	if got := books.of("orders"); got.InFlight != 0 || !got.Oldest.IsZero() {
		t.Errorf("with none in flight: %+v", got)
	}
	for n := range 3 * replicasKept {
		books.beat("listener", string(rune('a'+n%26))+strings.Repeat("x", n/26))
	}
	if len(books.beats) > replicasKept {
		t.Errorf("%d replicas are remembered", len(books.beats))
	}
}

func TestShutdownIsAskedForWithTheToken(t *testing.T) {
	var got []string
	c := fakeSidecar(t, http.StatusNoContent, "", "", func(r *http.Request) {
		got = append(got, r.Method+" "+r.URL.Path+" "+r.Header.Get(tokenHeader)+" "+r.Header.Get("dapr-force-shutdown"))
	})
	if err := errors.Join(c.Shutdown(t.Context(), false), c.Shutdown(t.Context(), true)); err != nil {
		t.Fatal(err)
	}
	if want := "POST /v1.0/shutdown sidecar-token |POST /v1.0/shutdown sidecar-token true"; strings.Join(got, "|") != want {
		t.Errorf("asked %q", got)
	}
	refusing := fakeSidecar(t, http.StatusForbidden, "", "denied", func(*http.Request) {})
	if err := refusing.Shutdown(t.Context(), false); err == nil || !strings.Contains(err.Error(), "denied") {
		t.Errorf("a refusal is %v", err)
	}
}
