package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"caravan/internal/event"
	"caravan/internal/page"
	"caravan/internal/problem"
	"caravan/internal/token"
	"caravan/services/notifications/adapters/rest"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

const replays = "/v1/ops/dead-letters/replays"

// newOffice is a server with the routes for batches and details, too.
func newOffice(t *testing.T) *server {
	t.Helper()
	s := newServer()
	h := rest.NewHandlers(s.notifications)
	r, d := h.Batches(domain.BatchReplay, replays), h.Batches(domain.BatchDiscard, "/v1/ops/dead-letters/discards")
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /v1/ops/dead-letters/{id}":          h.ShowDeadLetter,
		"POST /v1/ops/dead-letters/replay":       r.Start,
		"GET " + replays:                         r.List,
		"GET " + replays + "/{id}":               r.Show,
		"POST " + replays + "/{id}/cancel":       r.Cancel,
		"POST /v1/ops/dead-letters/discard":      d.Start,
		"GET /v1/ops/dead-letters/discards":      d.List,
		"GET /v1/ops/dead-letters/discards/{id}": d.Show,
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := handle(w, r); err != nil {
				problem.Write(w, r, err)
			}
		})
	}
	return s
}

// keyed calls as staff with an Idempotency-Key.
func (s *server) keyed(t *testing.T, key, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(token.With(t.Context(), staff), "POST", target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Idempotency-Key", key)
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	return w
}

func slug(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var p problem.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return p.Slug()
}

func TestABatchOverHTTP(t *testing.T) {
	s := newOffice(t)
	body := `{"filter":{"topic":"orders","since":"2026-01-01T00:00:00Z"},"perSecond":7,"reason":"repaired"}`
	started := s.keyed(t, "k", "/v1/ops/dead-letters/replay", body)
	var b rest.Batch
	if err := json.Unmarshal(started.Body.Bytes(), &b); err != nil || started.Code != 202 || started.Header().Get("Location") != replays+"/"+b.ID {
		t.Fatalf("%d %s, %v", started.Code, started.Body, err)
	}
	if b.Action != "replay" || b.Status != "running" || b.PerSecond != 7 || b.Reason != "repaired" || b.RequestedBy != "s1" || b.Filter.Topic != "orders" || b.Failures == nil {
		t.Errorf("started %+v", b)
	}
	if again := s.keyed(t, `"k"`, "/v1/ops/dead-letters/replay", body); again.Code != 202 || again.Body.String() != started.Body.String() {
		t.Errorf("again: %d %s", again.Code, again.Body)
	}
	if reused := s.keyed(t, "k", "/v1/ops/dead-letters/replay", `{"filter":{}}`); reused.Code != 422 || slug(t, reused) != "idempotency-key-reused" {
		t.Errorf("reused: %d %s", reused.Code, reused.Body)
	}
	var list page.List[rest.Batch]
	if status := s.call(t, staff, "GET", replays, "", &list); status != 200 || len(list.Items) != 1 || list.Items[0].ID != b.ID {
		t.Errorf("listed %d %+v", status, list)
	}
	if status := s.call(t, staff, "GET", "/v1/ops/dead-letters/discards", "", &list); status != 200 || len(list.Items) != 0 {
		t.Errorf("listed as discards %d %+v", status, list)
	}
	if status := s.call(t, staff, "GET", "/v1/ops/dead-letters/discards/"+b.ID, "", nil); status != 404 {
		t.Errorf("shown as a discard: %d", status)
	}
	for range 2 {
		if status := s.call(t, staff, "POST", replays+"/"+b.ID+"/cancel", "", &b); status != 200 || b.Status != "cancelled" || b.EndedBy != "s1" {
			t.Errorf("cancelled: %d %+v", status, b)
		}
	}
	done := s.keyed(t, "d", "/v1/ops/dead-letters/discard", `{"filter":{},"reason":"nothing"}`)
	if err := json.Unmarshal(done.Body.Bytes(), &b); err != nil || b.PerSecond != 100 || b.Action != "discard" {
		t.Fatalf("%d %s, %v", done.Code, done.Body, err)
	}
	if err := app.NewBatchWorker(s.notifications).Work(t.Context(), domain.ActiveBatch{ID: b.ID, At: b.RequestedAt}); err != nil {
		t.Fatal(err)
	}
	if status := s.call(t, staff, "GET", "/v1/ops/dead-letters/discards/"+b.ID, "", &b); status != 200 || b.Status != "finished" || b.EndedAt.IsZero() {
		t.Errorf("finished: %d %+v", status, b)
	}
}

func TestRefusedBatches(t *testing.T) {
	s := newOffice(t)
	for _, c := range []struct {
		target, body string
		status       int
	}{
		{"replay", `{}`, 400},
		{"replay", `{"filter":null}`, 400},
		{"replay", `{"filter":{},"perSecond":0}`, 400},
		{"replay", `{"filter":{},"perSecond":101}`, 400},
		{"replay", `{"filter":{},"reason":"` + strings.Repeat("x", 501) + `"}`, 400},
		{"replay", `{"filter":{"status":"replayed"}}`, 400},
		{"replay", `{"filter":{"reason":"` + strings.Repeat("x", 201) + `"}}`, 400},
		{"replay", `{"filter":{"since":"yesterday"}}`, 400},
		{"discard", `{"filter":{}}`, 400},
		{"discard", `{"filter":{},"reason":""}`, 400},
	} {
		if w := s.keyed(t, "k", "/v1/ops/dead-letters/"+c.target, c.body); w.Code != c.status {
			t.Errorf("%s %.80s: %d %s", c.target, c.body, w.Code, w.Body)
		}
	}
	for _, c := range []struct {
		caller         token.Claims
		method, target string
		status         int
	}{
		{staff, "POST", "/v1/ops/dead-letters/replay", 400}, // without a key
		{customer, "POST", "/v1/ops/dead-letters/replay", 403},
		{nobody, "POST", "/v1/ops/dead-letters/discard", 401},
		{customer, "GET", replays, 403},
		{customer, "GET", replays + "/x", 403},
		{customer, "POST", replays + "/x/cancel", 403},
		{customer, "GET", "/v1/ops/dead-letters/x", 403},
		{staff, "GET", replays + "/x", 404},
		{staff, "POST", replays + "/x/cancel", 404},
		{staff, "GET", "/v1/ops/dead-letters/x", 404},
		{staff, "GET", "/v1/ops/dead-letters/" + domain.LetterID(event.Event{ID: "none"}), 404},
		{staff, "GET", "/v1/ops/dead-letters?status=lost", 400},
		{staff, "GET", "/v1/ops/dead-letters?since=yesterday", 400},
		{staff, "GET", "/v1/ops/dead-letters?until=2026-01-01", 400},
		{staff, "GET", "/v1/ops/dead-letters?reason=" + strings.Repeat("x", 201), 400},
	} {
		body := ""
		if c.method == "POST" && !strings.HasSuffix(c.target, "cancel") {
			body = `{"filter":{},"reason":"x"}`
		}
		if status := s.call(t, c.caller, c.method, c.target, body, nil); status != c.status {
			t.Errorf("%s %s by %q is %d; want %d", c.method, c.target, c.caller.Subject, status, c.status)
		}
	}
	full := 0
	for i := range 10 {
		if w := s.keyed(t, fmt.Sprint("k", i), "/v1/ops/dead-letters/replay", `{"filter":{}}`); w.Code == 409 && slug(t, w) == "too-many-batches" {
			full++
		}
	}
	if full != 2 {
		t.Errorf("%d of 10 batches were too many", full)
	}
}

func TestADeadLetterInDetail(t *testing.T) {
	s := newOffice(t)
	s.store.BeforeGet = func(keys []string) error {
		if keys[0] == "inbox/u1" {
			return fmt.Errorf("decoding document %s: it is broken", keys[0])
		}
		return nil
	}
	good, err := confirmed("u1", 1).CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{string(good), "\xff not text"} {
		if status := s.call(t, nobody, "POST", "/events/dead", body, nil); status != 200 {
			t.Fatalf("delivery is %d", status)
		}
	}
	var list page.List[rest.DeadLetter]
	if s.call(t, staff, "GET", "/v1/ops/dead-letters?type=orders.confirmed.v1&status=open&consumer=notifications&topic=orders&reason=BROKEN&since=2026-03-01T12:00:00Z&until=2026-03-01T12:00:01Z", "", &list); len(list.Items) != 1 {
		t.Fatalf("found %+v", list)
	}
	target := "/v1/ops/dead-letters/" + list.Items[0].ID
	// A failure is kept, too, and a repeat of the request with its key neither tries again nor is noted again.
	for range 2 {
		w := s.keyed(t, "r1", target+"/replay", `{"reason":"is it well?"}`)
		if w.Code != 422 || slug(t, w) != "dead-letter-unreplayable" || !strings.Contains(w.Body.String(), "broken") {
			t.Errorf("replayed in vain: %d %s", w.Code, w.Body)
		}
	}
	if w := s.keyed(t, "r1", target+"/replay", `{"reason":"other"}`); w.Code != 422 || slug(t, w) != "idempotency-key-reused" {
		t.Errorf("the key again: %d %s", w.Code, w.Body)
	}
	s.store.BeforeGet = nil
	if w := s.keyed(t, "r2", target+"/replay", ""); w.Code != 200 {
		t.Errorf("replayed: %d %s", w.Code, w.Body)
	}
	var d rest.DeadLetterDetail
	if status := s.call(t, staff, "GET", target, "", &d); status != 200 || d.Status != "replayed" || d.Payload != string(good) || string(d.Event) != string(good) || d.PayloadEncoding != "text" {
		t.Fatalf("%d %+v", status, d)
	}
	var kinds []string
	for _, a := range d.History {
		kinds = append(kinds, a.By+" "+a.Kind+" "+a.Reason)
	}
	if got := strings.Join(kinds, "; "); got != "notifications received ; notifications replay_failed tried once more on arrival; s1 replay_failed is it well?; s1 replayed " {
		t.Errorf("history is %s", got)
	}
	if d.Attempts != 4 || d.LastFailure != "" || d.Reason == "" || !d.LastAttemptAt.Equal(noon) {
		t.Errorf("detail is %+v", d)
	}
	s.call(t, staff, "GET", "/v1/ops/dead-letters?status=open", "", &list)
	if status := s.call(t, staff, "GET", "/v1/ops/dead-letters/"+list.Items[0].ID, "", &d); status != 200 || d.PayloadEncoding != "base64" || d.Payload != "/yBub3QgdGV4dA==" {
		t.Errorf("%d %+v", status, d)
	}
}
