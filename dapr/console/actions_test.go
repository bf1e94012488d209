package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/dapr/launcher/process"
	"caravan/dapr/records"
	"caravan/internal/clock"
)

func TestBreaking(t *testing.T) {
	f := newFixture(t, nil).signIn()
	body := f.get("/break").body
	for _, want := range []string{
		`aria-label="Kill orders"`, `aria-label="Stop orders-daprd with SIGSTOP"`, `aria-label="Start broker"`, "starts by itself", "this page", "Place 100 orders",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, act := range [][2]string{
		{"orders", "kill"}, {"orders-daprd", "freeze"}, {"orders-daprd", "continue"}, {"broker", "start"},
		{"console", "kill"}, {"payments", "kill"}, {"nothing", "kill"}, {"orders", "hang"}, {hostile, "kill"},
	} {
		f.post("/break/processes/"+url.PathEscape(act[0]), "action", act[1])
	}
	if want := []string{"orders 9", "orders-daprd 19", "orders-daprd 18", "start broker"}; !slices.Equal(f.launcher.did, want) {
		t.Errorf("the launcher did %q, want %q", f.launcher.did, want)
	}
}

// TestStateInEffect: a frozen process is ready for the launcher, which does not look again.
func TestStateInEffect(t *testing.T) {
	f := newFixture(t, nil).signIn()
	f.launcher.report.Processes[0].Frozen = true
	f.launcher.report.Processes[1].State, f.launcher.report.Processes[1].Why = process.Starting, "waits for broker "+hostile
	f.gateway.set("GET /v1/ops/services", 200, `{"items":[{"name":"payments","status":"unready","detail":"x","durationMs":1,"breaker":"open"}]}`)
	body := f.get("/").body
	checkText(t, "the board", body)
	for _, want := range []string{
		`<tr id="p-orders" data-state="frozen">`, `<tr id="p-orders-daprd" data-state="starting">`, `<tr id="p-payments" data-state="starts again">`,
		`<tr id="p-broker" data-state="stopped">`, "waits for broker", "1.18.1",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the board lacks %q", want)
		}
	}
	if !strings.Contains(f.get("/break").body, `aria-label="Continue orders"`) {
		t.Error("a frozen process cannot be continued")
	}
}

func TestBreakingNeedsThePermissionAndTheLauncher(t *testing.T) {
	f := newFixture(t, nil)
	f.gateway.set("GET /v1/users/me", 200, `{"id":"u-1","name":"Ada","email":"a@b.example","roles":["customer"],"createdAt":"2026-01-01T00:00:00Z"}`)
	f.signIn()
	if body := f.get("/break").body; strings.Contains(body, "Kill") {
		t.Error("there are buttons")
	}
	if p := f.post("/break/processes/orders", "action", "kill"); p.status != http.StatusForbidden || len(f.launcher.did) != 0 {
		t.Errorf("it answers %d; the launcher did %q", p.status, f.launcher.did)
	}
	elsewhere := newFixture(t, nil).signIn()
	elsewhere.server.control = nil
	for _, path := range []string{"/break/processes/orders", "/break/orders"} {
		if p := elsewhere.post(path, "action", "kill", "count", "1"); p.status != http.StatusForbidden {
			t.Errorf("%s answers %d", path, p.status)
		}
	}
	if p := elsewhere.get("/break"); p.status != http.StatusNotFound {
		t.Errorf("the page answers %d", p.status)
	}
	if body := elsewhere.get("/").body; strings.Contains(body, `href="/break"`) || !strings.Contains(body, "does not run on this machine") {
		t.Error("the board shows the launcher's page")
	}
}

func TestPlacingOrders(t *testing.T) {
	f := newFixture(t, nil).signIn()
	f.gateway.set("GET /v1/products", 200, `{"currency":"EUR","items":[
		{"sku":"DEAR","name":"x","available":5,"price":{"amount":9999,"currency":"EUR"},"status":"active"},
		{"sku":"SOLD","name":"x","available":0,"price":{"amount":100,"currency":"EUR"},"status":"active"},
		{"sku":"TEA","name":"x","available":5,"price":{"amount":100,"currency":"EUR"},"status":"active"}]}`)
	f.gateway.set("GET /v1/wallet", 200, `{"available":{"amount":5,"currency":"EUR"},"balance":{"amount":5,"currency":"EUR"},"held":{"amount":0,"currency":"EUR"}}`)
	f.gateway.set("POST /v1/wallet/deposits", 201, `{"id":"d-1","amount":{"amount":250000,"currency":"EUR"},"status":"succeeded","createdAt":"2026-01-01T00:00:00Z"}`)
	f.gateway.set("POST /v1/orders", 202, `{"id":"o-1","status":"placed"}`)
	for _, count := range []string{"10", "1"} {
		f.post("/break/orders", "count", count)
		f.await("orders to be placed", func() bool {
			return strings.Contains(f.get("/break").body, count+" of "+count+" order") && !f.placing()
		})
	}
	if got := f.gateway.called(`POST /v1/orders {"items":[{"quantity":1,"sku":"TEA"}]}`); len(got) != 11 {
		t.Errorf("the gateway got %q", f.gateway.called("POST"))
	}
	if got := f.gateway.called("GET /v1/wallet"); len(got) != 1 {
		t.Errorf("the wallet was asked %d times, though it was known to be enough", len(got))
	}
	for _, bad := range []string{"2", "-1", "1000", "", "x"} {
		if p := f.post("/break/orders", "count", bad); p.status != http.StatusBadRequest {
			t.Errorf("%q orders: %d", bad, p.status)
		}
	}
	f.gateway.set("POST /v1/orders", 422, "")
	f.post("/break/orders", "count", "1")
	f.await("the refusal", func() bool { return strings.Contains(f.get("/break").body, "1 not") })
	checkText(t, "the refusal", f.get("/break").body)
}

func (f *fixture) placing() bool {
	f.server.sessions.mu.Lock()
	defer f.server.sessions.mu.Unlock()
	for _, sess := range f.server.sessions.byID {
		sess.mu.Lock()
		defer sess.mu.Unlock()
		return sess.placing.Running
	}
	return false
}

func (f *fixture) await(what string, holds func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			f.t.Fatal("waited for " + what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestLetters(t *testing.T) {
	f := newFixture(t, nil).signIn()
	f.gateway.set("GET /v1/ops/dead-letters", 200, `{"items":[{"id":"l-1","consumer":"c","topic":"t","reason":"r","attempts":1,"firstSeen":"2026-01-01T00:00:00Z","lastAttemptAt":"2026-01-01T00:00:00Z","lastFailure":"r","payload":"p","size":1,"status":"open"}]}`)
	batch := `{"id":"b-1","action":"replay","status":"running","done":1,"failed":1,"failures":[],"filter":{},"perSecond":10,"requestedAt":"2026-01-01T00:00:00Z","requestedBy":"u-1","scanned":2}`
	f.gateway.set("POST /v1/ops/dead-letters/replay", 202, batch)
	f.gateway.set("GET /v1/ops/dead-letters/replays", 200, `{"items":[`+batch+`]}`)
	f.gateway.set("POST /v1/ops/dead-letters/replays/b-1/cancel", 200, batch)
	f.gateway.set("POST /v1/ops/dead-letters/l-1/replay", 200, `{}`)
	f.gateway.set("POST /v1/ops/dead-letters/l-1/discard", 200, `{}`)
	if body := f.get("/letters").body; strings.Contains(body, "failed again") || !strings.Contains(body, "Replay 1 letter") {
		t.Errorf("the page is %s", body)
	}
	if p := f.post("/letters/replay", "type", "orders.confirmed.v1", "reason", "panic", "why", "Fixed."); p.status != http.StatusSeeOther {
		t.Errorf("a batch answers %d", p.status)
	}
	f.post("/letters/l-1/replay", "back", "https://evil.example/")
	f.post("/letters/l-1/discard", "reason", "A test.", "back", "/letters")
	f.post("/letters/batches/b-1/cancel")
	for _, want := range []string{
		`POST /v1/ops/dead-letters/replay {"filter":{"reason":"panic","type":"orders.confirmed.v1"},"perSecond":10,"reason":"Fixed."}`,
		`POST /v1/ops/dead-letters/l-1/replay {}`, `POST /v1/ops/dead-letters/l-1/discard {"reason":"A test."}`, `POST /v1/ops/dead-letters/replays/b-1/cancel`,
	} {
		if len(f.gateway.called(want)) != 1 {
			t.Errorf("the gateway lacks %q: %q", want, f.gateway.called("POST"))
		}
	}
	calls := len(f.gateway.called("POST"))
	f.post("/letters/replay", "perSecond", "101")
	f.post("/letters/replay", "type", strings.Repeat("x", maxFilter+1))
	f.post("/letters/l-1/dance")
	if len(f.gateway.called("POST")) != calls {
		t.Error("something that is not valid reached the gateway")
	}
	if p := f.get("/letters?status=nothing"); !strings.Contains(p.body, "there is no such state") {
		t.Errorf("a wrong state: %s", p.body)
	}
	// One letter was there when the batch began.
	if body := f.get("/letters").body; !strings.Contains(body, "2 of 1") || !strings.Contains(body, `<progress aria-label="Letters handled" max="1" value="2">`) {
		t.Errorf("the progress is %s", body)
	}
}

// TestStream: parts are sent when they change, a heartbeat always, and the end of the session.
func TestStream(t *testing.T) {
	f := newFixture(t, nil).signIn()
	r := f.request(http.MethodGet, "/board/stream", nil)
	response, err := f.browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("the type is %q", response.Header.Get("Content-Type"))
	}
	got := map[string]int{}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		kind, found := strings.CutPrefix(lines.Text(), "event: ")
		if !found {
			continue
		}
		lines.Scan()
		data := strings.TrimPrefix(lines.Text(), "data: ")
		var part fragment
		if err := json.Unmarshal([]byte(data), &part); kind == "fragment" && err != nil {
			t.Fatal(err)
		}
		got[kind+part.ID]++
		if strings.Contains(part.HTML, "Every invariant holds (3 checks).") && got["beat"] > 3 {
			f.gateway.set("GET /v1/ops/orders", 401, "") // the next read ends the session
		}
	}
	if got["signed-out"] != 1 || got["beat"] < 3 || got["fragmentsummary"] < 2 || got["fragmentbreakers"] > 2 || got["fragmentsummary"] >= got["beat"] {
		t.Errorf("the events are %v", got)
	}
}

func TestSourceKeepsItsValue(t *testing.T) {
	m := &moving{noon}
	var s source[int]
	answer, failure, calls := 1, error(nil), 0
	read := func(context.Context) (int, error) { calls++; return answer, failure }
	refresh := func(ctx context.Context) { s.refresh(ctx, m, time.Minute, time.Second, read) }
	if r := s.now(); r.Known() {
		t.Errorf("before the first read it is %+v", r)
	}
	refresh(t.Context())
	refresh(t.Context())
	if r := s.now(); r.Value != 1 || !r.Known() || calls != 1 {
		t.Errorf("after %d reads it is %+v", calls, r)
	}
	m.now, answer, failure = noon.Add(time.Hour), 2, errors.New("it is down")
	refresh(t.Context())
	m.now = noon.Add(2 * time.Hour)
	refresh(t.Context())
	if r := s.now(); r.Value != 1 || r.Problem != "it is down" || !r.At.Equal(noon) || !r.Since.Equal(noon.Add(time.Hour)) {
		t.Errorf("when reads fail it is %+v", r)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	m.now = noon.Add(3 * time.Hour)
	refresh(gone)
	failure = nil
	refresh(t.Context())
	if r := s.now(); r.Value != 2 || r.Problem != "" || r.Busy {
		t.Errorf("when reads work again it is %+v", r)
	}
}

// TestSourceIsReadOnce: several pages of one person share a read.
func TestSourceIsReadOnce(t *testing.T) {
	var s source[int]
	begun, end := make(chan struct{}), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.refresh(t.Context(), clock.System{}, time.Minute, time.Minute, func(context.Context) (int, error) {
			close(begun)
			<-end
			return 1, nil
		})
	}()
	<-begun
	s.refresh(t.Context(), clock.System{}, 0, time.Minute, func(context.Context) (int, error) { t.Error("it was read twice"); return 0, nil })
	if !s.now().Busy {
		t.Error("it is not busy")
	}
	close(end)
	<-done
	if s.now().Value != 1 {
		t.Error("the value is missing")
	}
}

func TestStaleReadingsAreMarked(t *testing.T) {
	v := boardView{Now: noon.Add(90 * time.Second)}
	v.Waiting = reading[waitingOrders]{At: noon, Problem: "no answer " + hostile, Value: waitingOrders{}}
	html, err := render("waiting", v)
	if err != nil {
		t.Fatal(err)
	}
	checkText(t, "the mark", html)
	if !strings.Contains(html, "As of 12:00:00 UTC, 90 s ago: no answer") {
		t.Errorf("the part is %s", html)
	}
	v.Waiting = reading[waitingOrders]{At: noon, every: gatewayEvery}
	if html, _ := render("waiting", v); !strings.Contains(html, "As of 12:00:00 UTC, 90 s ago. There is no newer answer yet.") {
		t.Errorf("without an answer it is %s", html)
	}
	v.Now = noon.Add(4 * time.Second)
	if html, _ := render("waiting", v); strings.Contains(html, "As of") {
		t.Errorf("a young reading is marked: %s", html)
	}
	v.Waiting = reading[waitingOrders]{}
	if html, _ := render("waiting", v); !strings.Contains(html, "Loading") {
		t.Errorf("before the first read it is %s", html)
	}
}

// TestOrderStream: log lines that are found later come to the page.
func TestOrderStream(t *testing.T) {
	f := newFixture(t, nil).signIn()
	logs := f.withStore()
	f.gateway.set("GET /v1/orders/o-1", 200, orderJSON("o-1", "reserved", waitingJSON()))
	response, err := f.browser.Do(f.request(http.MethodGet, "/orders/o-1/stream", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	beats := 0
	for lines.Scan() {
		text := lines.Text()
		if strings.Contains(text, `"id":"lines"`) && strings.Contains(text, "line \\u0026lt;/td") {
			return
		}
		if strings.Contains(text, "event: beat") {
			beats++
		}
		if beats == 10 {
			line := records.Row{Kind: records.Log, Time: noon, Instance: "orders", Message: "line " + hostile, IDs: records.IDs{Aggregate: "o-1"}, File: "f", Offset: 1}
			logs.mu.Lock()
			logs.rows[`kind:="log" (`] = row(line)
			logs.mu.Unlock()
		}
	}
	t.Fatalf("the stream ended after %d heartbeats: %v", beats, lines.Err())
}

// TestStreamOutlivesTheTimeoutOfRequests opens a stream at a server that gives a request little time to be read.
func TestStreamOutlivesTheTimeoutOfRequests(t *testing.T) {
	f := newFixture(t, nil)
	web := httptest.NewUnstartedServer(f.server.handler())
	web.Config.ReadTimeout = 200 * time.Millisecond
	web.Start()
	t.Cleanup(web.Close)
	f.url = web.URL
	f.signIn()
	response, err := f.browser.Do(f.request(http.MethodGet, "/board/stream", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	began := time.Now()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for time.Since(began) < time.Second {
		if !lines.Scan() {
			t.Fatalf("the stream ended after %s: %v", time.Since(began), lines.Err())
		}
	}
}
