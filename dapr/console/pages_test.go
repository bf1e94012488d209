package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/dapr/records"
)

// order is JSON of an order of the API with hostile texts.
func orderJSON(id, status, more string) string {
	return fmt.Sprintf(`{"id":%q,"userId":"u-7","status":%q,"lines":[{"sku":"S","name":%q,"quantity":2}],"placedAt":"2026-01-02T12:00:00Z","updatedAt":"2026-01-02T12:00:01Z",
		"timeline":[{"type":"placed","time":"2026-01-02T12:00:00Z","sequence":1,"note":%q,"by":%q,"detail":%q}]%s}`, id, status, hostile, hostile, hostile, hostile, more)
}

// waitingJSON is why an order waits.
func waitingJSON() string {
	return fmt.Sprintf(`,"waiting":{"step":"authorize","attempts":3,"reason":%q,"since":"2026-01-02T12:00:00Z","nextAttemptAt":%q}`,
		hostile, time.Now().Add(3500*time.Millisecond).UTC().Format(time.RFC3339Nano))
}

// fakeStore answers queries of the store for log lines, by a part of the query.
type fakeStore struct {
	mu      sync.Mutex
	rows    map[string][]byte
	queries []string
}

func (f *fixture) withStore() *fakeStore {
	f.t.Helper()
	s := &fakeStore{rows: map[string][]byte{}}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		query := r.PostFormValue("query")
		s.queries = append(s.queries, query)
		for part, rows := range s.rows {
			if strings.Contains(query, part) {
				_, _ = w.Write(rows)
			}
		}
	}))
	f.t.Cleanup(web.Close)
	f.server.logs, f.server.logsURL = logStore(web.URL), web.URL
	return s
}

// row is a row as the store answers it.
func row(r records.Row) []byte {
	var all map[string]any
	decoder := json.NewDecoder(bytes.NewReader(records.AppendRow(nil, &r)))
	decoder.UseNumber()
	_ = decoder.Decode(&all)
	out := map[string]string{}
	for key, value := range all {
		out[key] = fmt.Sprint(value)
	}
	out["_time"] = r.Time.UTC().Format(time.RFC3339Nano)
	raw, _ := json.Marshal(out)
	return append(raw, '\n')
}

func TestOrderPageShowsHostileTextsAsText(t *testing.T) {
	f := newFixture(t, nil).signIn()
	logs := f.withStore()
	ids := records.IDs{Aggregate: "o-1", Trace: "t-1", Correlation: "c-1"}
	line := records.Row{Kind: records.Log, Time: noon, Instance: "orders", Level: records.Warn, Message: "line " + hostile, IDs: ids, File: "f", Offset: 1}
	line.Line = fmt.Sprintf(`{"msg":"x","key":%q}`, hostile)
	span := records.Row{Kind: records.Span, Time: noon, Instance: "orders", Message: "span " + hostile, IDs: ids, SpanID: "s-1", Duration: time.Second, Attributes: fmt.Sprintf(`{"k":%q}`, hostile)}
	logs.rows[`kind:="log" (`] = row(line)
	logs.rows[`| uniq by (trace_id)`] = []byte(`{"trace_id":"t-1"}` + "\n")
	logs.rows[`kind:="span"`] = row(span)
	f.gateway.set("GET /v1/orders/o-1", 200, orderJSON("o-1", "reserved", waitingJSON()))
	f.gateway.set("GET /v1/ops/dead-letters", 200, fmt.Sprintf(`{"items":[{"id":"l-1","consumer":"notifications","topic":"orders","subject":"o-1","reason":%q,"attempts":1,
		"firstSeen":"2026-01-02T12:00:03Z","lastAttemptAt":"2026-01-02T12:00:05Z","lastFailure":%q,"payload":%q,"payloadTruncated":false,"size":3,"status":"open","type":%q}]}`, hostile, hostile, hostile, hostile))
	p := f.get("/orders/o-1")
	checkText(t, "the order's page", p.body)
	for _, want := range []string{"Next try <strong>in 3.", "third so far", "line &lt;/td", "span &lt;/td", `{&#34;k&#34;:`, "/letters/l-1/replay", "dead letter", "Run now", "2026-01-02 12:00:00.000 UTC"} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the page lacks %q:\n%s", want, p.body)
		}
	}
	if strings.Count(p.body, "&lt;img src=x") < 10 {
		t.Error("the page lacks some of the texts")
	}
	text := f.get("/orders/o-1/text")
	if !strings.HasPrefix(text.header.Get("Content-Type"), "text/plain") || !strings.Contains(text.body, "line "+hostile) || !strings.Contains(text.body, "Trace t-1: 1 spans") {
		t.Errorf("the text is %s", text.body)
	}
	for _, page := range []string{"/letters"} {
		checkText(t, page, f.get(page).body)
	}
	if !strings.Contains(f.get("/letters").body, "failed again") {
		t.Error("the letter is not marked")
	}
	f.gateway.set("GET /v1/ops/orders", 200, `{"items":[`+orderJSON("o-1", "reserved", waitingJSON())+`]}`)
	checkText(t, "the board", f.get("/").body)
	checkText(t, "the list", f.get("/orders").body)
}

// TestLogLinesNeedTheOrder: the store knows no permissions, so it is asked only about orders that the gateway shows.
func TestLogLinesNeedTheOrder(t *testing.T) {
	f := newFixture(t, nil).signIn()
	logs := f.withStore()
	if p := f.get("/orders/o-9"); p.status != http.StatusNotFound {
		t.Errorf("the page answers %d", p.status)
	}
	if p := f.get("/orders/" + url.PathEscape(hostile)); p.status != http.StatusNotFound {
		t.Errorf("the page answers %d", p.status)
	}
	if len(logs.queries) != 0 {
		t.Errorf("the store was asked %q", logs.queries)
	}
}

func TestSearch(t *testing.T) {
	f := newFixture(t, nil).signIn()
	logs := f.withStore()
	logs.rows[`correlation_id:="c-1"`] = []byte(`{"aggregate":"o-1"}` + "\n" + `{"aggregate":"` + jsonText(hostile) + `"}` + "\n" + `{"aggregate":"u-7"}` + "\n")
	f.gateway.set("GET /v1/orders/o-1", 200, orderJSON("o-1", "confirmed", ""))
	f.gateway.set("GET /v1/ops/orders", 200, `{"items":[`+orderJSON("o-1", "confirmed", "")+`,`+orderJSON("o-2", "placed", "")+`]}`)
	for query, location := range map[string]string{"o-1": "/orders/o-1", " o-1 ": "/orders/o-1", "c-1": "/orders/o-1"} {
		if p := f.get("/orders?q=" + url.QueryEscape(query)); p.location != location {
			t.Errorf("%q leads to %q (%d)", query, p.location, p.status)
		}
	}
	if p := f.get("/orders?q=u-7"); !strings.Contains(p.body, "2 orders found") {
		t.Errorf("the orders of a person: %s", p.body)
	}
	if p := f.get("/orders?q=nobody"); !strings.Contains(p.body, "Nothing is known about <code>nobody</code>") {
		t.Errorf("nothing: %s", p.body)
	}
	before := len(logs.queries)
	for _, bad := range []string{hostile, strings.Repeat("x", 129), `a" or *`, "*"} {
		if p := f.get("/orders?q=" + url.QueryEscape(bad)); !strings.Contains(p.body, "An id has letters") || strings.Contains(p.body, "<img") {
			t.Errorf("%q: %s", bad, p.body)
		}
	}
	if len(logs.queries) != before {
		t.Error("the store was asked about what is no id")
	}
	for status, want := range map[string]string{"waiting": "o-2", "confirmed": "o-2", "nothing": "There is no such state"} {
		if p := f.get("/orders?status=" + status); !strings.Contains(p.body, want) {
			t.Errorf("%s: %s", status, p.body)
		}
	}
}

func TestSearchWithoutTheStore(t *testing.T) {
	f := newFixture(t, nil).signIn()
	if p := f.get("/orders?q=c-1"); !strings.Contains(p.body, "No store for log lines runs") {
		t.Errorf("without a store: %s", p.body)
	}
	f.server.logs = logStore("http://127.0.0.1:1")
	if p := f.get("/orders?q=c-1"); !strings.Contains(p.body, "The store for log lines does not answer") {
		t.Errorf("with a store that is down: %s", p.body)
	}
	f.gateway.set("GET /v1/orders/o-1", 200, orderJSON("o-1", "confirmed", ""))
	if p := f.get("/orders/o-1"); p.status != http.StatusOK || !strings.Contains(p.body, "Nothing is known: ") {
		t.Errorf("the order's page answers %d: %s", p.status, p.body)
	}
}

func TestOrderActions(t *testing.T) {
	f := newFixture(t, nil).signIn()
	for _, call := range []string{"POST /v1/ops/orders/o-1/retry", "POST /v1/ops/orders/o-1/cancel", "POST /v1/orders/o-1/refund"} {
		f.gateway.set(call, 202, `{"id":"o-1","status":"placed"}`)
	}
	for _, test := range []struct{ action, reason, amount, want string }{
		{"retry", "It is back.", "", `POST /v1/ops/orders/o-1/retry {"reason":"It is back."}`},
		{"cancel", "", "", `POST /v1/ops/orders/o-1/cancel {"reason":"Cancelled from the console."}`},
		{"refund", "Dented.", "5.00 EUR", `POST /v1/orders/o-1/refund {"amount":{"amount":500,"currency":"EUR"},"reason":"Dented."}`},
		{"refund", "", "", `POST /v1/orders/o-1/refund {"reason":"Refunded from the console."}`},
	} {
		p := f.post("/orders/o-1/"+test.action, "reason", test.reason, "amount", test.amount)
		if p.status != http.StatusSeeOther || p.location != "/orders/o-1" || len(f.gateway.called(test.want)) != 1 {
			t.Errorf("%s answers %d to %q; the gateway got %q", test.action, p.status, p.location, f.gateway.called("POST"))
		}
	}
	calls := len(f.gateway.called("POST"))
	f.post("/orders/o-1/refund", "amount", "a lot")
	f.post("/orders/o-1/retry", "reason", strings.Repeat("x", maxReason+1))
	f.post("/orders/o-1/dance")
	f.post("/orders/" + url.PathEscape("a b") + "/retry")
	if len(f.gateway.called("POST")) != calls {
		t.Errorf("the gateway got %q", f.gateway.called("POST"))
	}
}

// TestRefusalsAreShown: the page's script gets JSON, and a browser without it the page with a notice.
func TestRefusalsAreShown(t *testing.T) {
	f := newFixture(t, nil).signIn()
	f.gateway.set("POST /v1/ops/orders/o-1/cancel", 409, "")
	f.post("/orders/o-1/cancel")
	checkText(t, "the notice", f.get("/").body)
	if strings.Contains(f.get("/").body, "It did not work") {
		t.Error("the notice is shown twice")
	}
	f.gateway.set("POST /v1/ops/orders/o-1/cancel", 403, "")
	if f.post("/orders/o-1/cancel"); f.get("/").status != http.StatusOK {
		t.Error("a person who may not do something was signed out")
	}
	f.gateway.set("POST /v1/ops/orders/o-1/cancel", 409, "")
	r := f.request(http.MethodPost, "/orders/o-1/cancel", url.Values{"csrf": {f.token("/")}})
	r.Header.Set("Accept", "application/json")
	p := f.send(r)
	var got answer
	if err := json.Unmarshal([]byte(p.body), &got); err != nil || p.status != http.StatusUnprocessableEntity || !strings.Contains(got.Error, "Refused because: "+hostile) {
		t.Errorf("the script gets %d %s", p.status, p.body)
	}
}
