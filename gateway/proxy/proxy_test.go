package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"caravan/gateway/proxy/proxytest"
	"caravan/gateway/route"
	"caravan/internal/correlation"
	"caravan/internal/problem"
)

const routesFile = `apps: [orders, products]
routes:
  - { method: GET, path: "/v1/orders/{id}", app: orders, access: signedIn, retry: safe, long: { parameter: wait, max: 30s } }
  - { method: POST, path: /v1/orders, app: orders, access: signedIn, body: 1KiB, retry: keyed, long: { parameter: wait, max: 30s } }
  - { method: DELETE, path: "/v1/orders/{id}", app: orders, access: signedIn }
  - { method: GET, path: /v1/products, app: products, access: public }
`

func settings() BreakerSettings {
	return BreakerSettings{Consecutive: 1000, Ratio: 0.5, Requests: 1000, Window: 10 * time.Second, Open: 5 * time.Second, Probes: 1}
}

type stage struct {
	sidecar   *proxytest.FakeSidecar
	table     *route.Table
	forwarder *Forwarder
}

func newStage(t testing.TB, s BreakerSettings) *stage {
	t.Helper()
	table, err := route.Parse([]byte(routesFile), route.Known{})
	if err != nil {
		t.Fatal(err)
	}
	sidecar := proxytest.NewFakeSidecar(t)
	transport := NewTransport(time.Second)
	t.Cleanup(transport.CloseIdleConnections)
	return &stage{sidecar: sidecar, table: table, forwarder: New(Settings{
		Sidecar: sidecar.URL(), Token: proxytest.Token, Transport: transport,
		Breakers: NewBreakers(table.Apps(), s, func(string, string, string) {}),
	})}
}

// do sends a request through the forwarder as the edge would.
func (s *stage) do(t testing.TB, r *http.Request, authorized bool) (*httptest.ResponseRecorder, error) {
	t.Helper()
	path, query, err := route.SplitTarget(r.RequestURI)
	if err != nil {
		t.Fatal(err)
	}
	match, err := s.table.Match(r.Method, path)
	if err != nil {
		t.Fatal(err)
	}
	timeout, _ := match.Route.TimeoutOf(query, nil)
	w := httptest.NewRecorder()
	return w, s.forwarder.Forward(w, r, &Call{Match: match, Query: query, Client: "192.0.2.7", Authorized: authorized, Timeout: timeout})
}

func TestForwardsOnlyWhatIsNamed(t *testing.T) {
	s := newStage(t, settings())
	s.sidecar.Handle("orders", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "/v1/orders/o1")
		w.Header().Set("X-Secret", "internal")
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Server", "daprd")
		w.Header().Set("Dapr-Callee-App-Id", "orders")
		w.WriteHeader(http.StatusAccepted)
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s?%s %s", r.URL.Path, r.URL.RawQuery, body)
	})
	r := httptest.NewRequest("POST", "/v1/orders?a=b%20c", strings.NewReader(`{"x":1}`))
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Idempotency-Key": `"k1"`, "Accept-Language": "de", "Authorization": "Bearer t.o.k",
		"Dapr-App-Id": "payments", "Dapr-Api-Token": "guess", "Dapr-Caller-App-Id": "orders", "X-User-Id": "admin",
		"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Host": "evil", "Forwarded": "for=10.0.0.1", "Cookie": "a=b", "Baggage": "x=y",
		"Traceparent": "00-11111111111111111111111111111111-2222222222222222-01", "X-Correlation-Id": "theirs", "X-Original-Url": "/internal",
		"Connection": "close, X-User-Id, Dapr-Api-Token", "User-Agent": "curl", "X-Http-Method-Override": "DELETE", "Transfer-Encoding": "chunked",
	} {
		r.Header.Set(name, value)
	}
	w, err := s.do(t, r.WithContext(correlation.With(r.Context(), "ours")), true)
	if err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusAccepted || w.Body.String() != `/v1/orders?a=b%20c {"x":1}` {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	got := s.sidecar.Requests()[0].Header
	want := map[string]string{
		"Content-Type": "application/json", "Idempotency-Key": `"k1"`, "Accept-Language": "de", "Authorization": "Bearer t.o.k",
		"Dapr-Api-Token": proxytest.Token, "X-Correlation-Id": "ours", "X-Forwarded-For": "192.0.2.7", "Content-Length": "7",
	}
	for name := range got {
		if got.Get(name) != want[name] || len(got[name]) != 1 {
			t.Errorf("the sidecar received %s: %q, want %q", name, got[name], want[name])
		}
	}
	for name := range want {
		if got.Get(name) == "" {
			t.Errorf("the sidecar did not receive %s", name)
		}
	}
	for name, values := range w.Header() {
		if !slices.Contains([]string{"Content-Type", "Location", "Content-Length"}, name) {
			t.Errorf("the client received %s: %q", name, values)
		}
	}
	if stray := s.sidecar.Stray(); len(stray) > 0 {
		t.Error(stray)
	}
}

func TestPublicCallsCarryNoCredentials(t *testing.T) {
	s := newStage(t, settings())
	s.sidecar.Handle("products", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	r := httptest.NewRequest("GET", "/v1/products", nil)
	r.Header.Set("Authorization", "Basic ZGFwci1hcHAtaWQ6cGF5bWVudHM=")
	if w, err := s.do(t, r, false); err != nil || w.Code != http.StatusNoContent {
		t.Fatalf("got %d, %v", w.Code, err)
	}
	if got := s.sidecar.Requests()[0].Header.Get("Authorization"); got != "" {
		t.Errorf("the sidecar received Authorization: %q", got)
	}
}

// A login tells by the User-Agent whether the device is a known one. Other calls do not need it.
func TestAgentsOfCallsWithoutAToken(t *testing.T) {
	s := newStage(t, settings())
	s.sidecar.Handle("orders", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for n, c := range []struct {
		agent      string
		authorized bool
		want       string
	}{
		{"Firefox/145.0", false, "Firefox/145.0"},
		{"Firefox/145.0", true, ""},
		{"", false, ""},
		{"f\xffo\u00fc", false, "f?o?"},
		{strings.Repeat("x", 1000), false, strings.Repeat("x", 256)},
	} {
		r := httptest.NewRequest("POST", "/v1/orders", strings.NewReader("{}"))
		r.Header.Set("User-Agent", c.agent)
		r.Header.Set("X-Client-Agent", "forged")
		if w, err := s.do(t, r, c.authorized); err != nil || w.Code != http.StatusNoContent {
			t.Fatalf("got %d, %v", w.Code, err)
		}
		if got := s.sidecar.Requests()[n].Header; got.Get("X-Client-Agent") != c.want || got.Get("User-Agent") != "" {
			t.Errorf("of %q the sidecar received %q", c.agent, got.Get("X-Client-Agent"))
		}
	}
}

// A page says that a link is wrong, and which style it has.
func TestPagesAreForwarded(t *testing.T) {
	s := newStage(t, settings())
	s.sidecar.Handle("products", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "style-src 'sha256-x'")
		w.WriteHeader(http.StatusBadRequest)
	})
	w, err := s.do(t, httptest.NewRequest("GET", "/v1/products", nil), false)
	if err != nil || w.Code != http.StatusBadRequest || w.Header().Get("Content-Security-Policy") != "style-src 'sha256-x'" {
		t.Errorf("got %v, %d, %v", err, w.Code, w.Header())
	}
}

func TestAnswersOfTheSidecarItselfBecomeProblems(t *testing.T) {
	s := newStage(t, settings())
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		status  int // 0: passed on
	}{
		"no such app":   {nil, 503},
		"breaker open":  {refusing(500, "ERR_DIRECT_INVOKE", "failed to invoke, id: orders, err: circuit breaker is open"), 503},
		"access denied": {refusing(403, "ERR_DIRECT_INVOKE", "access denied"), 503},
		"plain text":    {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "404 page not found", 404) }, 503},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.example", http.StatusFound)
		}, 503},
		"no media type": {func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil; w.WriteHeader(502) }, 503},
		"empty success": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }, 503},
		"page of an error": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(502)
		}, 503},
		"problem": {func(w http.ResponseWriter, r *http.Request) {
			problem.Write(w, r, problem.Conflict("insufficient-funds", "no money"))
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s.sidecar.Handle("orders", tc.handler)
			w, err := s.do(t, httptest.NewRequest("GET", "/v1/orders/o1", nil), true)
			if tc.status == 0 {
				if err != nil || w.Code != 409 || w.Header().Get("Content-Type") != problem.ContentType || !strings.Contains(w.Body.String(), "insufficient-funds") {
					t.Errorf("got %v, %d %s", err, w.Code, w.Body)
				}
				return
			}
			p := problem.From(err)
			if err == nil || p.Status != tc.status || p.Slug() != "service-unavailable" || p.RetryAfter <= 0 {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(p.Detail, "orders") || strings.Contains(p.Detail, "circuit") {
				t.Errorf("the client is told about the inside: %s", p.Detail)
			}
		})
	}
}

func refusing(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { proxytest.Refuse(w, status, code, message) }
}

func TestBodiesAreLimited(t *testing.T) {
	s := newStage(t, settings())
	s.sidecar.Handle("orders", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	for name, tc := range map[string]struct {
		size      int
		announced bool
		want      int
	}{
		"within, announced": {1024, true, 204}, "within, chunked": {1024, false, 204},
		"over, announced": {1025, true, 413}, "over, chunked": {100_000, false, 413},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/v1/orders", bytes.NewReader(make([]byte, tc.size)))
			if !tc.announced {
				r.ContentLength = -1
			}
			w, err := s.do(t, r, true)
			status := w.Code
			if err != nil {
				status = problem.From(err).Status
			}
			if status != tc.want {
				t.Errorf("got %d (%v), want %d", status, err, tc.want)
			}
		})
	}
	r := httptest.NewRequest("DELETE", "/v1/orders/o1", strings.NewReader("body"))
	r.Header.Set("Content-Type", "text/plain")
	if _, err := s.do(t, r, true); err != nil {
		t.Fatal(err)
	}
	all := s.sidecar.Requests()
	if last := all[len(all)-1].Header; last.Get("Content-Length") != "" || last.Get("Content-Type") != "" {
		t.Errorf("a body was forwarded on a route without one: %v", last)
	}
}

func TestRepeatedSingleHeadersAreRefused(t *testing.T) {
	s := newStage(t, settings())
	r := httptest.NewRequest("POST", "/v1/orders", strings.NewReader("{}"))
	r.Header["Idempotency-Key"] = []string{"a", "b"}
	if _, err := s.do(t, r, true); problem.From(err) == nil || problem.From(err).Status != 400 {
		t.Errorf("two keys: got %v", err)
	}
	r = httptest.NewRequest("GET", "/v1/orders/o1", nil)
	r.Header.Set("Accept", strings.Repeat("a", maxForwarded+1))
	if _, err := s.do(t, r, true); problem.From(err) == nil || problem.From(err).Status != 400 {
		t.Errorf("a long header: got %v", err)
	}
	if n := len(s.sidecar.Requests()); n != 0 {
		t.Errorf("%d requests reached the sidecar", n)
	}
}

func TestForeignLocationsAreDropped(t *testing.T) {
	for location, kept := range map[string]bool{
		"/v1/orders/o1": true, "http://evil.example/": false, "//evil.example/": false, "orders/o1": false, `/\evil.example`: false,
	} {
		if local(location) != kept {
			t.Errorf("%s: kept is %v", location, !kept)
		}
	}
}

func TestTimeoutAndCallerLeft(t *testing.T) {
	s := newStage(t, BreakerSettings{Consecutive: 1, Ratio: 1, Requests: 1, Window: 10 * time.Second, Open: time.Hour, Probes: 1})
	s.table.Routes()[3].Timeout = 50 * time.Millisecond
	entered := make(chan struct{})
	s.sidecar.Handle("orders", func(_ http.ResponseWriter, r *http.Request) { close(entered); <-r.Context().Done() })
	s.sidecar.Handle("products", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })

	ctx, leave := context.WithCancel(t.Context())
	go func() { <-entered; leave() }()
	if _, err := s.do(t, httptest.NewRequest("GET", "/v1/orders/o1", nil).WithContext(ctx), true); !errors.Is(err, ErrCallerLeft) {
		t.Errorf("a caller who left: got %v", err)
	}
	if _, err := s.do(t, httptest.NewRequest("GET", "/v1/products", nil), false); problem.From(err) == nil || problem.From(err).Status != 503 {
		t.Errorf("a late service: got %v", err)
	}
	for _, status := range s.forwarder.breakers.Status() {
		if want := map[string]string{"orders": "closed", "products": "open"}[status.App]; status.State != want {
			t.Errorf("the breaker of %s is %s, want %s", status.App, status.State, want)
		}
	}
}

// brokenBody returns one byte and then an error.
type brokenBody struct{ err error }

func (b brokenBody) Read(p []byte) (int, error) { return copy(p, "{"), b.err }
func (b brokenBody) Close() error               { return nil }

// A client that stops sending loses its connection, and has no effect on others.
func TestSlowBodies(t *testing.T) {
	s := newStage(t, BreakerSettings{Consecutive: 1, Ratio: 1, Requests: 1, Window: 10 * time.Second, Open: time.Hour, Probes: 1})
	s.sidecar.Handle("orders", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	s.table.Routes()[1].Timeout = time.Second // the request has started by then
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		match, err := s.table.Match(r.Method, r.URL.Path)
		if err == nil {
			err = s.forwarder.Forward(w, r, &Call{Match: match, Timeout: match.Route.Timeout})
		}
		problem.Write(w, r, err)
	}))
	defer front.Close()
	for _, framing := range []string{"Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"} {
		connection, err := net.Dial("tcp", front.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		if err := connection.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(connection, "POST /v1/orders HTTP/1.1\r\nHost: x\r\n"+framing); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil {
			t.Fatalf("%q: %v", framing, err)
		}
		if response.StatusCode != http.StatusRequestTimeout {
			t.Errorf("%q: got %d", framing, response.StatusCode)
		}
	}
	if got := s.forwarder.breakers.Status()[0]; got.State != "closed" {
		t.Errorf("the breaker is %s", got.State)
	}
}

// A client that sends its last byte near the deadline leaves the service no time. That says nothing about the service.
// A client that sends in time and gets no answer does.
func TestBodiesThatAreCompleteTooLate(t *testing.T) {
	const timeout = time.Second
	for after, want := range map[time.Duration]struct {
		status  int
		breaker string
	}{
		0:                             {http.StatusServiceUnavailable, "open"},
		timeout * 9 / 10:              {http.StatusRequestTimeout, "closed"},
		timeout + 50*time.Millisecond: {http.StatusRequestTimeout, "closed"},
		timeout + bodyGrace*8/10:      {http.StatusRequestTimeout, "closed"},
	} {
		s := newStage(t, BreakerSettings{Consecutive: 1, Ratio: 1, Requests: 1, Window: 10 * time.Second, Open: time.Hour, Probes: 1})
		s.sidecar.Handle("orders", func(_ http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				<-r.Context().Done() // the service is slow
			}
		})
		s.table.Routes()[1].Timeout = timeout
		begun, given := time.Now(), 0
		r := httptest.NewRequest("POST", "/v1/orders", nil)
		r.ContentLength = 2
		r.Body = io.NopCloser(readerFunc(func(p []byte) (int, error) {
			switch given++; given {
			case 2:
				time.Sleep(time.Until(begun.Add(after)))
			case 3:
				return 0, io.EOF
			}
			p[0] = ' '
			return 1, nil
		}))
		if _, err := s.do(t, r, true); problem.From(err) == nil || problem.From(err).Status != want.status {
			t.Errorf("complete after %s: got %v; want %d", after, err, want.status)
		}
		if got := s.forwarder.breakers.Status()[0]; got.State != want.breaker {
			t.Errorf("complete after %s: the breaker is %s", after, got.State)
		}
	}
}

// readerFunc is a reader made from a function.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Requests that a service sheds get its answer and do not open the breaker. A failure with the same status does.
func TestShedRequestsDoNotOpenTheBreaker(t *testing.T) {
	s := newStage(t, BreakerSettings{Consecutive: 3, Ratio: 0.5, Requests: 5, Window: 10 * time.Second, Open: time.Hour, Probes: 1})
	var busy atomic.Bool
	busy.Store(true)
	s.sidecar.Handle("orders", func(w http.ResponseWriter, r *http.Request) {
		if busy.Load() {
			problem.Write(w, r, problem.Busy("busy", "Too many at this moment.", time.Second))
			return
		}
		problem.Write(w, r, problem.Unavailable("store-unavailable", "", time.Second))
	})
	for range 50 {
		w, err := s.do(t, httptest.NewRequest("GET", "/v1/orders/o1", nil), true)
		if err != nil || w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
			t.Fatalf("a shed request got %d %v, %v", w.Code, w.Header(), err)
		}
	}
	if got := s.forwarder.breakers.Status()[0]; got.State != "closed" {
		t.Errorf("the breaker is %s after requests that were shed", got.State)
	}
	busy.Store(false)
	for range 3 {
		_, _ = s.do(t, httptest.NewRequest("GET", "/v1/orders/o1", nil), true)
	}
	if got := s.forwarder.breakers.Status()[0]; got.State != "open" {
		t.Errorf("the breaker is %s after as many failures", got.State)
	}
}

// Nothing that a client does to its own request opens the breaker for the others.
func TestClientsCanNotOpenTheBreaker(t *testing.T) {
	s := newStage(t, BreakerSettings{Consecutive: 1, Ratio: 1, Requests: 1, Window: 10 * time.Second, Open: time.Hour, Probes: 1})
	read := func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
	}
	post := func(body io.ReadCloser, length int64) *http.Request {
		r := httptest.NewRequest("POST", "/v1/orders", nil)
		r.Body, r.ContentLength = body, length
		return r
	}
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		request *http.Request
		status  int // 0: the caller left
	}{
		"broken body":   {read, post(brokenBody{err: io.ErrUnexpectedEOF}, 100), 400},
		"broken chunks": {read, post(brokenBody{err: errors.New("malformed chunked encoding")}, -1), 400},
		"broken wire":   {read, post(brokenBody{err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}, 100), 0},
		"large body":    {read, post(io.NopCloser(strings.NewReader(strings.Repeat("x", 5000))), -1), 413},
		"headers too large": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "too large", http.StatusRequestHeaderFieldsTooLarge)
		}, httptest.NewRequest("GET", "/v1/orders/o1", nil), 400},
		"refused by sidecar": {refusing(400, "ERR_MALFORMED_REQUEST", "bad"), httptest.NewRequest("GET", "/v1/orders/o1", nil), 400},
		"refused by service": {func(w http.ResponseWriter, r *http.Request) { problem.Write(w, r, problem.Internal()) }, httptest.NewRequest("GET", "/v1/orders/o1", nil), 500},
		"repeated header": {read, func() *http.Request {
			r := post(http.NoBody, 0)
			r.Header["Idempotency-Key"] = []string{"a", "b"}
			return r
		}(), 400},
		"afterwards all well": {read, post(io.NopCloser(strings.NewReader("{}")), 2), 204},
	} {
		t.Run(name, func(t *testing.T) {
			s.sidecar.Handle("orders", tc.handler)
			w, err := s.do(t, tc.request, true)
			status := w.Code
			switch {
			case errors.Is(err, ErrCallerLeft):
				status = 0
			case err != nil:
				status = problem.From(err).Status
			}
			if status != tc.status {
				t.Errorf("got %d (%v), want %d", status, err, tc.status)
			}
			if got := s.forwarder.breakers.Status()[0]; got.State != "closed" {
				t.Errorf("the breaker is %s", got.State)
			}
		})
	}
}

// A sidecar that fails during a body is not the client's fault, although the body is not read to its end.
func TestASidecarThatFailsWithinABody(t *testing.T) {
	s := newStage(t, settings())
	s.forwarder.transport = fakeTransport(func(r *http.Request) (*http.Response, error) {
		_, err := r.Body.Read(make([]byte, 1))
		if err == nil {
			t.Error("the body was read")
		}
		return nil, syscall.ECONNRESET
	})
	r := httptest.NewRequest("POST", "/v1/orders", nil)
	r.Body, r.ContentLength = brokenBody{err: http.ErrBodyReadAfterClose}, 100 // the transport closes it in this way
	if _, err := s.do(t, r, true); problem.From(err) == nil || problem.From(err).Status != 503 {
		t.Errorf("got %v", err)
	}
}

// fakeTransport answers from a function.
type fakeTransport func(*http.Request) (*http.Response, error)

func (f fakeTransport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestABrokenAnswerIsNotPassedOffAsWhole(t *testing.T) {
	s := newStage(t, settings())
	s.sidecar.Handle("products", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"items":[`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	defer func() {
		if recovered := recover(); recovered != http.ErrAbortHandler {
			t.Errorf("got %v, want the handler aborted", recovered)
		}
	}()
	_, err := s.do(t, httptest.NewRequest("GET", "/v1/products", nil), false)
	t.Errorf("the handler went on: %v", err)
}

// The forwarder answers as httputil.ReverseProxy does, apart from what the allow-lists remove.
func TestSameAsReverseProxy(t *testing.T) {
	s := newStage(t, settings())
	s.sidecar.Handle("orders", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		status := 200
		if code := r.URL.Query().Get("status"); code != "" {
			if _, err := fmt.Sscan(code, &status); err != nil {
				panic(err)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("ETag", `"7"`)
		if status >= 400 {
			w.Header().Set("Content-Type", problem.ContentType)
			w.Header().Set("Retry-After", "3")
		}
		if status == 304 || status == 204 {
			w.WriteHeader(status)
			return
		}
		w.WriteHeader(status)
		reply := fmt.Sprintf("%s %s?%s len=%d ct=%s key=%s", r.Method, r.URL.Path, r.URL.RawQuery, r.ContentLength, r.Header.Get("Content-Type"), r.Header.Get("Idempotency-Key"))
		repeat := 1
		if r.URL.Query().Has("large") {
			repeat = 5000
		}
		for range repeat {
			_, _ = io.WriteString(w, reply)
			_, _ = w.Write(body)
		}
	})
	oracle := &httputil.ReverseProxy{
		Transport: s.forwarder.transport,
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL = &url.URL{Scheme: "http", Host: s.sidecar.URL().Host, Path: "/v1.0/invoke/orders/method" + pr.In.URL.Path, RawQuery: pr.In.URL.RawQuery}
			pr.Out.Header.Set("Dapr-Api-Token", proxytest.Token)
		},
	}
	for _, tc := range []struct{ method, target, body string }{
		{"GET", "/v1/orders/o1", ""}, {"GET", "/v1/orders/o1?a=1&a=2&b=%20x", ""}, {"GET", "/v1/orders/o1?large", ""},
		{"GET", "/v1/orders/o1?status=304", ""}, {"GET", "/v1/orders/o1?status=404", ""}, {"GET", "/v1/orders/o1?status=503", ""},
		{"HEAD", "/v1/orders/o1", ""}, {"DELETE", "/v1/orders/o1?status=204", ""}, {"POST", "/v1/orders", ""}, {"POST", "/v1/orders", `{"a":1}`},
		{"POST", "/v1/orders?large&status=202", `{"a":1}`}, {"POST", "/v1/orders?status=422", `{"a":1}`}, {"POST", "/v1/orders?status=500", `{}`},
	} {
		for _, chunked := range []bool{false, true} {
			name := fmt.Sprintf("%s %s chunked=%v", tc.method, tc.target, chunked)
			request := func() *http.Request {
				r := httptest.NewRequest(tc.method, tc.target, strings.NewReader(tc.body))
				r.Header.Set("Idempotency-Key", "k")
				if tc.body != "" {
					r.Header.Set("Content-Type", "application/json")
				}
				if chunked && tc.body != "" {
					r.ContentLength = -1
				}
				return r
			}
			mine, err := s.do(t, request(), true)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			theirs := httptest.NewRecorder()
			oracle.ServeHTTP(theirs, request())
			compare(t, name, mine.Result(), theirs.Result(), tc.method == "HEAD")
		}
	}
}

// compare reports differences. It ignores the body of an answer to HEAD, because the recorder keeps what a server would
// drop.
func compare(t *testing.T, name string, mine, theirs *http.Response, head bool) {
	t.Helper()
	a, errA := io.ReadAll(mine.Body)
	b, errB := io.ReadAll(theirs.Body)
	if errA != nil || errB != nil {
		t.Errorf("%s: %v, %v", name, errA, errB)
	}
	if mine.StatusCode != theirs.StatusCode || !head && !bytes.Equal(a, b) {
		t.Errorf("%s: got %d %.80s, the oracle %d %.80s", name, mine.StatusCode, a, theirs.StatusCode, b)
	}
	for _, header := range responseHeaders() {
		if !slices.Equal(mine.Header[header], theirs.Header[header]) {
			t.Errorf("%s: got %s %q, the oracle %q", name, header, mine.Header[header], theirs.Header[header])
		}
	}
	if head {
		return
	}
	if got, want := mine.Header.Get("Content-Length"), theirs.Header.Get("Content-Length"); got != want {
		t.Errorf("%s: got Content-Length %q, the oracle %q", name, got, want)
	}
}

// Only allowed names with the client's values and the gateway's own headers reach the sidecar, whatever a client sends.
func FuzzHeaderFilter(f *testing.F) {
	for _, name := range []string{"Dapr-App-Id", "dapr-app-id", "DAPR_APP_ID", "Authorization", "X-Correlation-Id", "Accept", "Traceparent", "Connection", "Content-Type "} {
		f.Add(name, "payments", "X-Forwarded-For", "10.0.0.1")
	}
	s := newStage(f, settings())
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		in := http.Header{}
		in.Add(name1, value1)
		in.Add(name2, value2)
		r := httptest.NewRequest("POST", "/v1/orders", nil)
		r.Header = in
		out := make(http.Header)
		if err := s.forwarder.forward(out, in, true, false); err != nil {
			return
		}
		s.forwarder.identify(out, r, &Call{Client: "192.0.2.7"}, true)
		for name, values := range out {
			i := slices.IndexFunc(requestHeaders(), func(h allowed) bool { return h.name == name })
			switch {
			case name == "User-Agent" && values == nil, name == "X-Forwarded-For" && values[0] == "192.0.2.7", name == "Dapr-Api-Token" && values[0] == proxytest.Token:
			case name == "X-Client-Agent" && values[0] == agent(in.Get("User-Agent")):
			case i >= 0 && slices.Equal(values, in[name]):
			default:
				t.Fatalf("%q: %q gets through", name, values)
			}
		}
	})
}
