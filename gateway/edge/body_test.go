package edge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/gateway/proxy"
	"caravan/gateway/proxy/proxytest"
	"caravan/gateway/route"
	"caravan/internal/problem"
)

const bodyRoutes = `apps: [orders]
routes:
  - { method: POST, path: /orders, app: orders, access: public, body: 1KiB, timeout: 1s }
  - { method: POST, path: /mine, app: orders, access: signedIn, body: 1KiB, timeout: 1s }
  - { method: DELETE, path: /orders, app: orders, access: public, timeout: 1s }
  - { method: GET, path: /orders, app: orders, access: public, timeout: 1s }
  - { method: GET, path: /own, app: gateway, access: public }
`

// front is an edge with a forwarder to a service that reads bodies and answers 204.
type front struct {
	address  string
	breakers *proxy.Breakers
	log      *proxytest.Log
}

// newFront makes a front whose breaker opens at the first failure, so that no failure is missed.
func newFront(t testing.TB) *front {
	t.Helper()
	table, err := route.Parse([]byte(bodyRoutes), route.Known{})
	if err != nil {
		t.Fatal(err)
	}
	sidecar := proxytest.NewFakeSidecar(t)
	sidecar.Handle("orders", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
	})
	transport := proxy.NewTransport(time.Second)
	t.Cleanup(transport.CloseIdleConnections)
	f := &front{log: new(proxytest.Log), breakers: proxy.NewBreakers(table.Apps(), proxy.BreakerSettings{
		Consecutive: 1, Ratio: 1, Requests: 1, Window: 10 * time.Second, Open: time.Hour, Probes: 1,
	}, func(string, string, string) {})}
	s := newSettings(t, nil, func(w http.ResponseWriter, _ *http.Request) error { _, err := io.WriteString(w, "own"); return err })
	s.Table, s.Log, s.Concurrent = table, slog.New(slog.NewJSONHandler(f.log, nil)), 100
	s.Forwarder = proxy.New(proxy.Settings{Sidecar: sidecar.URL(), Token: proxytest.Token, Transport: transport, Breakers: f.breakers})
	_, server := start(t, s)
	f.address = server.Listener.Addr().String()
	return f
}

// exchange sends bytes over a new connection and closes the sending half if half is set. It returns everything that
// comes back until the gateway closes the connection.
func (f *front) exchange(t testing.TB, sent string, half bool) string {
	t.Helper()
	connection, err := net.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.WriteString(connection, sent)
		if half {
			_ = connection.(*net.TCPConn).CloseWrite()
		}
	}()
	received, err := io.ReadAll(connection)
	if err != nil {
		t.Errorf("%.80q: reading: %v, after %q", sent, err, received)
	}
	return string(received)
}

// answers splits the received bytes into responses.
func answers(t testing.TB, received string) (all []*http.Response) {
	t.Helper()
	reader := bufio.NewReader(strings.NewReader(received))
	for {
		if _, err := reader.Peek(1); err != nil {
			return all
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatalf("%q: %v", received, err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatalf("%q: %v", received, err)
		}
		response.Body = io.NopCloser(bytes.NewReader(body))
		all = append(all, response)
	}
}

func isProblem(t testing.TB, name string, response *http.Response, status int) {
	t.Helper()
	var p problem.Problem
	if response.Header.Get("Content-Type") != problem.ContentType || json.NewDecoder(response.Body).Decode(&p) != nil || p.Status != status || response.StatusCode != status {
		t.Errorf("%s: got %d %v, want a problem with status %d", name, response.StatusCode, p, status)
	}
}

const chunkedPost = "POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

func lengthPost(n int) string {
	return fmt.Sprintf("POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", n)
}

// A body that cannot be read is the client's fault: a 400 that closes the connection and does not count as a failure.
func TestBodiesThatCanNotBeReadAreAnswered(t *testing.T) {
	f := newFront(t)
	more := strings.Repeat("x", 1<<20) // the client has sent it before it is refused
	for name, tc := range map[string]struct {
		sent   string
		half   bool
		status int
	}{
		"short body":                        {lengthPost(10) + "{", true, 400},
		"no body at all":                    {lengthPost(10), true, 400},
		"no chunk at all":                   {chunkedPost, true, 400},
		"half a chunk":                      {chunkedPost + "5\r\n{", true, 400},
		"no last chunk":                     {chunkedPost + "1\r\n{\r\n", true, 400},
		"half of the last chunk":            {chunkedPost + "1\r\n{\r\n0\r\n", true, 400},
		"half a trailer":                    {chunkedPost + "0\r\nX: y", true, 400},
		"not a length":                      {chunkedPost + "ZZ\r\n{\r\n", false, 400},
		"an empty length":                   {chunkedPost + "\r\n", false, 400},
		"a negative length":                 {chunkedPost + "-1\r\n{\r\n", false, 400},
		"a length with 0x":                  {chunkedPost + "0x1\r\n{\r\n0\r\n\r\n", false, 400},
		"a length beyond 64 bits":           {chunkedPost + "fffffffffffffffff\r\n{\r\n", false, 400},
		"a chunk longer than its length":    {chunkedPost + "1\r\n{{{{\r\n0\r\n\r\n", false, 400},
		"a chunk shorter than its length":   {chunkedPost + "9\r\n{}\r\n0\r\n\r\nxxxxxxxxxx", false, 400},
		"a bare line feed":                  {chunkedPost + "1\n{\n0\n\n", true, 400},
		"an extension without end":          {chunkedPost + "1;" + more, false, 400},
		"more extension than body":          {chunkedPost + strings.Repeat("1;"+strings.Repeat("a", 2000)+"\r\n{\r\n", 100), false, 400},
		"a trailer without end":             {chunkedPost + "0\r\nX: " + more, false, 400},
		"a trailer that is no header":       {chunkedPost + "0\r\nnothing\r\n\r\n", false, 400},
		"not a length, and a lot behind":    {chunkedPost + "ZZ\r\n" + more, false, 400},
		"a good chunk, a bad one, and more": {chunkedPost + "1\r\n{\r\nZZ\r\n" + more, false, 400},
		"a next request behind a bad body":  {chunkedPost + "ZZ\r\n" + lengthPost(2) + "{}", false, 400},
		"too large, announced":              {lengthPost(2000) + more[:2000], true, 413},
		"too large, announced, not sent":    {lengthPost(2000), true, 413},
		"too large, in chunks":              {chunkedPost + "400\r\n" + more[:0x400] + "\r\n1\r\n{\r\n0\r\n\r\n", true, 413},
		"far too large, in chunks":          {chunkedPost + "100000\r\n" + more + "\r\n0\r\n\r\n", false, 413},
		"nothing more comes":                {lengthPost(10) + "{", false, 408},
		"no more chunks come":               {chunkedPost + "1\r\n{\r\n", false, 408},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := answers(t, f.exchange(t, tc.sent, tc.half))
			if len(all) == 0 {
				t.Fatal("there is no answer")
			}
			isProblem(t, name, all[0], tc.status)
			if len(all) > 1 && tc.status != 413 {
				t.Errorf("what came behind the bad body was answered, with %d", all[1].StatusCode)
			}
		})
	}
	t.Cleanup(func() {
		if got := f.breakers.Status()[0]; got.State != "closed" || got.Failures != 0 {
			t.Errorf("the breaker counted: %+v", got)
		}
		if log := f.log.String(); strings.Contains(log, `"status":5`) || strings.Contains(log, `"status":499`) {
			t.Errorf("the log blames somebody else: %s", log)
		}
	})
}

// A client may close its sending half after any part of a request. It gets an answer if the header is complete, and the
// requested result only if the body is complete too.
func TestEveryPrefixOfARequestIsAnswered(t *testing.T) {
	f := newFront(t)
	for name, whole := range map[string]string{
		"length":        lengthPost(2) + "{}",
		"chunks":        chunkedPost + "1;a=b\r\n{\r\n1\r\n}\r\n0\r\nX: y\r\n\r\n",
		"no body taken": "DELETE /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"own":           "GET /own HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	} {
		header := strings.Index(whole, "\r\n\r\n") + 4
		for n := range len(whole) + 1 {
			all := answers(t, f.exchange(t, whole[:n], true))
			switch {
			case len(all) > 1:
				t.Errorf("%s: %d answers to %q", name, len(all), whole[:n])
			case n < header && len(all) == 1 && all[0].StatusCode != 400:
				t.Errorf("%s: half a header %q got %d", name, whole[:n], all[0].StatusCode)
			case n < header: // net/http closes the connection or sends an answer
			case len(all) == 0:
				if n < len(whole) || name != "no body taken" { // a request without effect may be abandoned when its client leaves
					t.Errorf("%s: %q got no answer", name, whole[:n])
				}
			case n < len(whole):
				isProblem(t, fmt.Sprintf("%s: %q", name, whole[:n]), all[0], 400)
			case all[0].StatusCode > 299:
				t.Errorf("%s: the whole request got %d", name, all[0].StatusCode)
			}
		}
	}
	if got := f.breakers.Status()[0]; got.State != "closed" || got.Failures != 0 {
		t.Errorf("the breaker counted: %+v", got)
	}
}

// A body that is not used delays no answer, whatever its client does. What follows the body is not taken for a request.
func TestBodiesThatNobodyTakes(t *testing.T) {
	f := newFront(t)
	const chunked = " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	const short = " HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"
	const next = "GET /own HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	more := strings.Repeat("x", 1<<20)
	for name, tc := range map[string]struct {
		sent     string
		statuses []int
	}{
		"malformed, of a service":         {"GET /orders" + chunked + "ZZ\r\n" + next, []int{400}},
		"malformed, of a deletion":        {"DELETE /orders" + chunked + "ZZ\r\n" + next, []int{400}},
		"malformed, of the gateway":       {"GET /own" + chunked + "ZZ\r\n" + next, []int{400}},
		"malformed, of nobody":            {"GET /none" + chunked + "ZZ\r\n" + next, []int{404}},
		"malformed, with another method":  {"PUT /orders" + chunked + "ZZ\r\n" + next, []int{405}},
		"malformed, without credentials":  {"POST /mine" + chunked + "ZZ\r\n" + next, []int{401}},
		"and a lot behind, unknown":       {"GET /none" + chunked + "ZZ\r\n" + more, []int{404}},
		"and a lot behind, of a service":  {"GET /orders" + chunked + "ZZ\r\n" + more, []int{400}},
		"large, of a service":             {"DELETE /orders" + chunked + "100000\r\n" + more + "\r\n0\r\n\r\n" + next, []int{204}},
		"never sent, of a service":        {"GET /orders" + short, []int{408}},
		"never sent, of the gateway":      {"GET /own" + short, []int{408}},
		"never sent, of nobody":           {"GET /none" + short, []int{404}},
		"never sent, without credentials": {"POST /mine" + short, []int{401}},
		"whole, of a service":             {"DELETE /orders" + chunked + "2\r\n{}\r\n0\r\n\r\n" + next, []int{204, 200}},
		"whole, without credentials":      {"POST /mine" + chunked + "2\r\n{}\r\n0\r\n\r\n" + next, []int{401, 200}},
		"expected, without credentials":   {"POST /mine HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", []int{401}},
		"expected, of the gateway":        {"GET /own HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", []int{200}},
		"expected, broken after all":      {"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\nZZ\r\n", []int{100, 400}},
		"expected, never sent":            {"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", []int{100, 408}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			var statuses []int
			for _, response := range answers(t, f.exchange(t, tc.sent, false)) {
				statuses = append(statuses, response.StatusCode)
			}
			if !slices.Equal(statuses, tc.statuses) {
				t.Errorf("got %v, want %v", statuses, tc.statuses)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// A body that is complete leaves the connection open for the next request.
func TestConnectionsOutliveGoodBodies(t *testing.T) {
	f := newFront(t)
	one := chunkedPost + "2\r\n{}\r\n0\r\n\r\n"
	all := answers(t, f.exchange(t, one+one+lengthPost(2)+"{}"+strings.Replace(one, "Host: x", "Host: x\r\nConnection: close", 1), false))
	if len(all) != 4 {
		t.Fatalf("%d answers", len(all))
	}
	for _, response := range all {
		if response.StatusCode != http.StatusNoContent {
			t.Errorf("got %d", response.StatusCode)
		}
	}
}
