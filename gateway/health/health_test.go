package health

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/gateway/proxy/proxytest"
	"caravan/internal/clock"
)

func newChecker(t *testing.T, apps ...string) (*Checker, *proxytest.FakeSidecar) {
	t.Helper()
	sidecar := proxytest.NewFakeSidecar(t)
	return New(apps, sidecar.URL(), proxytest.Token, http.DefaultTransport, 2*time.Second, clock.System{}), sidecar
}

func saying(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" || r.Method != http.MethodGet {
			status = http.StatusTeapot
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestEveryServiceIsAskedAndTold(t *testing.T) {
	c, sidecar := newChecker(t, "good", "bad", "gone", "stuck", "odd")
	sidecar.Handle("good", saying(200, `{"status":"ready","checks":{"store":"ok"}}`))
	sidecar.Handle("bad", saying(503, `{"status":"unready","checks":{"store":"failing"}}`))
	sidecar.Handle("stuck", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	sidecar.Handle("odd", saying(200, "OK"))
	w := httptest.NewRecorder()
	if err := c.Serve(w, httptest.NewRequest("GET", "/healthz", nil)); err != nil {
		t.Fatal(err)
	}
	var answer report
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"good": Ready, "bad": Unready, "gone": Unreachable, "stuck": Unreachable, "odd": Unreachable}
	for name, state := range want {
		if answer.Services[name].Status != state {
			t.Errorf("%s: got %s, want %s", name, answer.Services[name].Status, state)
		}
	}
	if w.Code != 503 || answer.Status != Unready || len(answer.Services) != len(want) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	for _, s := range c.Services(t.Context()) {
		if (s.State == Ready) != (s.Detail == "") || s.Name == "bad" && s.Checks["store"] != "failing" {
			t.Errorf("%+v", s)
		}
	}
}

func TestAllReady(t *testing.T) {
	c, sidecar := newChecker(t, "good")
	sidecar.Handle("good", saying(200, `{"status":"ready","checks":{}}`))
	w := httptest.NewRecorder()
	if err := c.Serve(w, httptest.NewRequest("GET", "/healthz", nil)); err != nil || w.Code != 200 {
		t.Errorf("got %v, %d %s", err, w.Code, w.Body)
	}
}

func TestManyWhoAskAtOnceCauseOneRound(t *testing.T) {
	c, sidecar := newChecker(t, "good")
	var asked atomic.Int32
	sidecar.Handle("good", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		saying(200, `{"status":"ready","checks":{}}`)(w, r)
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { c.Services(t.Context()) })
	}
	all.Wait()
	if n := asked.Load(); n > 2 { // a second round may begin when the first has just ended
		t.Errorf("%d rounds", n)
	}
}
