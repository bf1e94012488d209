package service

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/event"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/telemetry"
	"caravan/internal/token"
)

const appToken = "the-app-token"

// logged collects log lines from many goroutines.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// lines returns the lines with the given message.
func (l *logged) lines(t *testing.T, message string) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []map[string]any
	for line := range strings.Lines(l.buf.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("a log line is not JSON: %v: %s", err, line)
		}
		if fields["msg"] == message {
			found = append(found, fields)
		}
	}
	return found
}

func newTestService(t *testing.T, flags ...string) (*Service, *logged) {
	t.Helper()
	args, err := parseArguments(append([]string{"--app.token=" + appToken}, flags...))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig(args, nil)
	if err != nil {
		t.Fatal(err)
	}
	var settings Settings
	if err := cfg.configure(&settings); err != nil {
		t.Fatal(err)
	}
	out := &logged{}
	tel, err := telemetry.New(context.Background(), "orders", func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	s, err := newService("orders", settings, cfg, telemetry.NewLogger(out, "orders", slog.LevelInfo), tel)
	if err != nil {
		t.Fatal(err)
	}
	return s, out
}

func started(t *testing.T, s *Service, build Build) {
	t.Helper()
	if err := s.build(context.Background(), build); err != nil {
		t.Fatal(err)
	}
	s.started.Store(true)
}

func send(s http.Handler, method, path string, body io.Reader, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, body)
	r.Header.Set("dapr-api-token", appToken)
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func problemOf(t *testing.T, w *httptest.ResponseRecorder) problem.Problem {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != problem.ContentType {
		t.Errorf("the content type is %q", got)
	}
	var p problem.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("the body is no problem: %v: %s", err, w.Body)
	}
	return p
}

func TestEveryRefusalIsAProblemWithTheCorrelationID(t *testing.T) {
	s, _ := newTestService(t, "--http.max_body=1024", "--http.request_timeout=100ms")
	started(t, s, func(_ context.Context, s *Service) error {
		s.route("POST /internal/work", kindInternal, func(w http.ResponseWriter, r *http.Request) error {
			switch r.Header.Get("Do") {
			case "panic":
				panic("boom")
			case "fail":
				return errors.New("the password is hunter2")
			case "read":
				_, err := io.ReadAll(r.Body)
				return err
			case "hang":
				<-r.Context().Done()
				return r.Context().Err()
			}
			request.Respond(w, http.StatusOK, map[string]string{"done": "yes"})
			return nil
		})
		return nil
	})
	tests := map[string]struct {
		method, path string
		headers      []string
		status       int
		slug         string
	}{
		"no token":         {"POST", "/internal/work", []string{"dapr-api-token", ""}, 401, "unauthorized"},
		"wrong token":      {"POST", "/internal/work", []string{"dapr-api-token", "guess"}, 401, "unauthorized"},
		"no token, no way": {"GET", "/elsewhere", []string{"dapr-api-token", ""}, 401, "unauthorized"},
		"no such route":    {"GET", "/elsewhere", nil, 404, "not-found"},
		"untidy path":      {"POST", "//internal//work", nil, 404, "not-found"},
		"wrong method":     {"GET", "/internal/work", nil, 405, "method-not-allowed"},
		"panic":            {"POST", "/internal/work", []string{"Do", "panic"}, 500, "internal"},
		"failure":          {"POST", "/internal/work", []string{"Do", "fail"}, 500, "internal"},
		"large body":       {"POST", "/internal/work", []string{"Do", "read"}, 413, "too-large"},
		"timeout":          {"POST", "/internal/work", []string{"Do", "hang"}, 503, "deadline-exceeded"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := send(s, test.method, test.path, strings.NewReader(strings.Repeat("x", 2000)),
				append(test.headers, "X-Correlation-Id", "the-cause")...)
			p := problemOf(t, w)
			if w.Code != test.status || p.Status != test.status || p.Slug() != test.slug {
				t.Errorf("the answer is %d %s (%s)", w.Code, p.Slug(), p.Detail)
			}
			if p.CorrelationID != "the-cause" || w.Header().Get("X-Correlation-Id") != "the-cause" {
				t.Errorf("the correlation id is %q, in the header %q", p.CorrelationID, w.Header().Get("X-Correlation-Id"))
			}
			if strings.Contains(w.Body.String(), "hunter2") || strings.Contains(w.Body.String(), "boom") {
				t.Errorf("the cause was told to the client: %s", w.Body)
			}
		})
	}
	if w := send(s, "GET", "/internal/work", nil); w.Header().Get("Allow") != "POST" {
		t.Errorf("Allow is %q", w.Header().Get("Allow"))
	}
}

func TestAServiceThatIsStartingSaysSo(t *testing.T) {
	s, _ := newTestService(t)
	if err := s.build(context.Background(), func(_ context.Context, s *Service) error {
		s.route("POST /internal/work", kindInternal, func(http.ResponseWriter, *http.Request) error { return nil })
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// The sidecar requests this once, and only while the service starts.
	if w := send(s, "GET", "/dapr/subscribe", nil); w.Code != 200 || w.Body.String() != "[]" {
		t.Errorf("the subscriptions are %d %s", w.Code, w.Body)
	}
	if w := send(s, "GET", "/dapr/config", nil); w.Code != 200 || w.Body.String() != "{}" {
		t.Errorf("the configuration is %d %s", w.Code, w.Body)
	}
	w := send(s, "POST", "/internal/work", nil)
	if p := problemOf(t, w); p.Status != 503 || p.Slug() != "starting" || w.Header().Get("Retry-After") != "1" {
		t.Errorf("the answer is %+v", p)
	}
	if w := send(s, "GET", "/livez", nil, "dapr-api-token", ""); w.Code != 200 {
		t.Errorf("livez is %d", w.Code)
	}
	if w := send(s, "GET", "/metrics", nil, "dapr-api-token", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "http_server_request_duration_seconds") {
		t.Errorf("metrics is %d without the durations of requests", w.Code)
	}
}

// A call that arrives just before the program has noticed its sidecar is answered, not refused.
func TestACallWaitsForAServiceThatIsAboutToStart(t *testing.T) {
	s, _ := newTestService(t)
	if err := s.build(context.Background(), func(_ context.Context, s *Service) error {
		s.route("POST /internal/work", kindInternal, func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusNoContent)
			return nil
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(startWait/4, func() { s.started.Store(true) })
	defer late.Stop()
	if w := send(s, "POST", "/internal/work", nil); w.Code != http.StatusNoContent {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestARequestIsLoggedOnceWithWhatTiesItTogether(t *testing.T) {
	s, out := newTestService(t)
	var seen context.Context
	started(t, s, func(_ context.Context, s *Service) error {
		s.route("POST /internal/things/{id}", kindInternal, func(w http.ResponseWriter, r *http.Request) error {
			seen = r.Context()
			s.Log.InfoContext(r.Context(), "inside")
			w.WriteHeader(http.StatusAccepted)
			return nil
		})
		return nil
	})
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	send(s, "POST", "/internal/things/42", nil, "X-Correlation-Id", "the-cause", "Traceparent", parent)
	send(s, "GET", "/livez", nil)

	if got := trace.SpanContextFromContext(seen); got.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" || got.SpanID().String() == "b7ad6b7169203331" {
		t.Errorf("the handler's span is %v", got)
	}
	if correlation.ID(seen) != "the-cause" {
		t.Errorf("the handler's correlation id is %q", correlation.ID(seen))
	}
	lines := append(out.lines(t, "request"), out.lines(t, "inside")...)
	if len(lines) != 2 {
		t.Fatalf("there are %d lines", len(lines))
	}
	for _, line := range lines {
		if line["correlation_id"] != "the-cause" || line["trace_id"] != "0af7651916cd43dd8448eb211c80319c" || line["service"] != "orders" {
			t.Errorf("the line is %v", line)
		}
	}
	if lines[0]["route"] != "POST /internal/things/{id}" || lines[0]["status"] != float64(202) || lines[0]["duration_ms"] == nil {
		t.Errorf("the access line is %v", lines[0])
	}
}

func TestACorrelationIDThatCouldDoHarmIsReplaced(t *testing.T) {
	s, _ := newTestService(t)
	started(t, s, func(_ context.Context, s *Service) error {
		s.route("POST /internal/work", kindInternal, func(http.ResponseWriter, *http.Request) error { return nil })
		return nil
	})
	for _, given := range []string{"", "a\nb", strings.Repeat("x", 65), `{"a":1}`} {
		w := send(s, "POST", "/internal/work", nil, "X-Correlation-Id", given)
		if got := w.Header().Get("X-Correlation-Id"); got == given || !correlation.Valid(got) {
			t.Errorf("%q became %q", given, got)
		}
	}
}

func TestAPublicRouteKnowsItsCaller(t *testing.T) {
	s, out := newTestService(t)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	started(t, s, func(_ context.Context, s *Service) error {
		s.Verifier = token.NewVerifier(func(context.Context) (token.KeySet, error) {
			return token.KeySet{Keys: []token.Key{{ID: "k1", Public: public}}}, nil
		}, "caravan", "caravan-api", s.Clock)
		s.Public("GET /v1/mine", func(r *http.Request) (request.Answer, error) {
			c, err := Caller(r)
			return request.OK(map[string]string{"subject": c.Subject}), err
		})
		s.Public("GET /v1/open", func(*http.Request) (request.Answer, error) {
			return request.OK(struct{}{}), nil
		})
		s.Public("GET /v1/staff", func(r *http.Request) (request.Answer, error) {
			_, err := Require(r, "catalog:write")
			return request.NoContent(), err
		})
		return nil
	})
	now := time.Now()
	raw, err := token.Signer{KeyID: "k1", Key: private}.Sign(token.Claims{
		Issuer: "caravan", Audience: "caravan-api", Subject: "user-1", ClientID: "caravan", ID: "t1", IssuedAt: now, Expiry: now.Add(time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		path, authorization string
		status              int
	}{
		"known":               {"/v1/mine", "Bearer " + raw, 200},
		"scheme in any case":  {"/v1/mine", "bearer " + raw, 200},
		"nobody":              {"/v1/mine", "", 401},
		"nobody, open":        {"/v1/open", "", 200},
		"forged":              {"/v1/mine", "Bearer " + raw[:len(raw)-8] + "AAAAAAAA", 401},
		"forged, open":        {"/v1/open", "Bearer nonsense", 401},
		"another scheme":      {"/v1/open", "Basic dXNlcjpwYXNz", 401},
		"without permission":  {"/v1/staff", "Bearer " + raw, 403},
		"nobody for the role": {"/v1/staff", "", 401},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := send(s, "GET", test.path, nil, "Authorization", test.authorization)
			if w.Code != test.status {
				t.Errorf("the status is %d: %s", w.Code, w.Body)
			}
			if w.Code == 401 && w.Header().Get("WWW-Authenticate") == "" {
				t.Error("a 401 without a challenge")
			}
		})
	}
	named := 0
	for _, line := range out.lines(t, "request") {
		if line["subject"] == "user-1" {
			named++
		}
		if text, _ := json.Marshal(line); bytes.Contains(text, []byte(raw)) {
			t.Error("the token was logged")
		}
	}
	if named != 3 {
		t.Errorf("the subject is on %d lines", named)
	}
}

func TestAnEventReachesItsHandlerOnlyFromTheSidecar(t *testing.T) {
	s, _ := newTestService(t)
	var got []event.Event
	started(t, s, func(_ context.Context, s *Service) error {
		s.subscribe("payments", func(_ context.Context, e event.Event) error {
			got = append(got, e)
			return nil
		})
		s.subscribe("orders.dead", func(context.Context, event.Event) error { return nil })
		return nil
	})
	e := event.Event{
		ID: event.ID("payments", "p1", 1), Type: "payments.captured.v1", Source: "payments", Subject: "p1", Sequence: 1,
		Time: time.Now().UTC(), CorrelationID: "the-cause", Data: json.RawMessage(`{}`),
	}
	body, err := e.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	const media = "application/cloudevents+json"
	if w := send(s, "POST", "/events/payments", bytes.NewReader(body), "Content-Type", media, "dapr-api-token", ""); w.Code != 401 || len(got) != 0 {
		t.Errorf("without the token the answer is %d and %d events arrived", w.Code, len(got))
	}
	w := send(s, "POST", "/events/payments", bytes.NewReader(body), "Content-Type", media)
	if w.Code != 200 || !strings.Contains(w.Body.String(), "SUCCESS") || len(got) != 1 || got[0].ID != e.ID {
		t.Errorf("the answer is %d %s and %d events arrived", w.Code, w.Body, len(got))
	}
	if w := send(s, "POST", "/events/dead", bytes.NewReader(body), "Content-Type", media); w.Code != 200 {
		t.Errorf("the dead letters answer %d %s", w.Code, w.Body)
	}
}

func TestAFrontGetsEveryRequestAsItCame(t *testing.T) {
	s, out := newTestService(t, "--app.token=")
	started(t, s, func(_ context.Context, s *Service) error {
		s.Front(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, wrapped := w.(*exchange); wrapped || r.URL.Path != "//a/../b" {
				t.Errorf("wrapped %v, path %s", wrapped, r.URL.Path)
			}
			w.WriteHeader(http.StatusTeapot)
		}))
		return nil
	})
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.URL.Path = "//a/../b"
	s.server(t.Context()).Handler.ServeHTTP(w, r)
	if w.Code != http.StatusTeapot {
		t.Errorf("the status is %d", w.Code)
	}
	if n := len(out.lines(t, "request")); n != 0 {
		t.Errorf("%d lines were logged", n)
	}
}

func TestAServiceWithoutAnAppTokenDoesNotStart(t *testing.T) {
	s, _ := newTestService(t, "--app.token=")
	err := s.build(context.Background(), func(_ context.Context, s *Service) error {
		s.route("POST /internal/work", kindInternal, func(http.ResponseWriter, *http.Request) error { return nil })
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "app.token (APP_API_TOKEN") {
		t.Errorf("the error is %v", err)
	}
}

func TestAnAnswerThatWasBegunIsNotReplaced(t *testing.T) {
	s, out := newTestService(t)
	started(t, s, func(_ context.Context, s *Service) error {
		s.route("POST /internal/work", kindInternal, func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = io.WriteString(w, "half")
			return errors.New("the rest is gone")
		})
		return nil
	})
	w := send(s, "POST", "/internal/work", nil)
	if w.Code != 200 || w.Body.String() != "half" {
		t.Errorf("the answer is %d %q", w.Code, w.Body)
	}
	if len(out.lines(t, "answer was cut short")) != 1 {
		t.Error("it was not logged")
	}
}

// BenchmarkRequest measures what the chassis adds to each request of a service.
func BenchmarkRequest(b *testing.B) {
	cfg, _ := loadConfig(arguments{values: map[string]string{"app.token": appToken}}, nil)
	var settings Settings
	if err := cfg.configure(&settings); err != nil {
		b.Fatal(err)
	}
	tel, err := telemetry.New(context.Background(), "orders", func(string) string { return "" })
	if err != nil {
		b.Fatal(err)
	}
	s, err := newService("orders", settings, cfg, telemetry.NewLogger(io.Discard, "orders", slog.LevelInfo), tel)
	if err != nil {
		b.Fatal(err)
	}
	s.Clock = clock.System{}
	s.route("POST /internal/work", kindInternal, func(http.ResponseWriter, *http.Request) error { return nil })
	s.started.Store(true)
	r := httptest.NewRequest("POST", "/internal/work", nil)
	r.Header.Set("dapr-api-token", appToken)
	r.Header.Set("X-Correlation-Id", "the-cause")
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(w, r)
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}
