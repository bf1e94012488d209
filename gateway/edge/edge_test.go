package edge

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"caravan/gateway/cache"
	"caravan/gateway/limit"
	"caravan/gateway/proxy"
	"caravan/gateway/route"
	"caravan/internal/clock"
	"caravan/internal/id"
	"caravan/internal/problem"
	"caravan/internal/token"
)

// fakeForwarder answers from a function.
type fakeForwarder func(w http.ResponseWriter, r *http.Request, c *proxy.Call) error

func (f fakeForwarder) Forward(w http.ResponseWriter, r *http.Request, c *proxy.Call) error {
	return f(w, r, c)
}

// Fetch returns nothing to keep.
func (f fakeForwarder) Fetch(*http.Request, *proxy.Call, int64) (*cache.Answer, error) {
	return nil, cache.ErrUnshared
}

// fakeVerifier accepts everybody as u1.
type fakeVerifier struct{}

func (fakeVerifier) Verify(context.Context, string) (token.Claims, error) {
	return token.Claims{Subject: "u1"}, nil
}

const routesFile = `apps: [orders]
routes:
  - { method: GET, path: /wait, app: orders, access: public, long: { parameter: wait, max: 30s } }
  - { method: POST, path: /command, app: orders, access: public, retry: keyed, long: { parameter: wait, max: 30s } }
  - { method: GET, path: /stream, app: orders, access: public, stream: true }
  - { method: GET, path: /ask, app: orders, access: public }
  - { method: GET, path: /own, app: gateway, access: public }
`

func newSettings(t testing.TB, forward fakeForwarder, own Handler) Settings {
	t.Helper()
	table, err := route.Parse([]byte(routesFile), route.Known{})
	if err != nil {
		t.Fatal(err)
	}
	return Settings{
		Table: table, Forwarder: forward, Verifier: fakeVerifier{}, Local: map[string]Handler{"GET /own": own}, Concurrent: 2, Held: 1, Streams: 1,
		Log: slog.New(slog.DiscardHandler), Tracer: tracenoop.Tracer{}, Meter: noop.Meter{}, Clock: clock.System{}, IDs: id.Random{},
	}
}

func start(t testing.TB, s Settings) (*Edge, *httptest.Server) {
	t.Helper()
	e, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(e)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	t.Cleanup(server.Close)
	return e, server
}

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(body)
}

func unused(http.ResponseWriter, *http.Request) error { return nil }

func TestPanicsBecomeProblemsOrBrokenConnections(t *testing.T) {
	_, server := start(t, newSettings(t, func(http.ResponseWriter, *http.Request, *proxy.Call) error { panic("before") }, func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half of it")
		panic("after")
	}))
	if status, body := get(t, server.URL+"/ask"); status != 500 || !strings.Contains(body, "urn:caravan:problem:internal") || strings.Contains(body, "before") {
		t.Errorf("a panic before the answer: got %d %s", status, body)
	}
	if status, body := get(t, server.URL+"/own"); status != 0 {
		t.Errorf("a panic within the answer: got a whole answer, %d %s", status, body)
	}
}

// A client that closes its sending half looks like one that left. It must get no 200 if nothing was done.
func TestACallerWhoLeftIsNotToldThatAllIsWell(t *testing.T) {
	_, server := start(t, newSettings(t, func(_ http.ResponseWriter, r *http.Request, _ *proxy.Call) error {
		<-r.Context().Done()
		return proxy.ErrCallerLeft
	}, unused))
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(connection, "GET /ask HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(bufio.NewReader(connection), nil); err == nil {
		t.Errorf("got %d", response.StatusCode)
	}
}

func TestHeldRequestsEndWhenTheProgramDrains(t *testing.T) {
	held := make(chan struct{})
	e, server := start(t, newSettings(t, func(_ http.ResponseWriter, r *http.Request, _ *proxy.Call) error {
		close(held)
		<-r.Context().Done()
		return proxy.ErrCallerLeft
	}, unused))
	go func() { <-held; e.Drain() }()
	if status, body := get(t, server.URL+"/wait?wait=20s"); status != 503 || !strings.Contains(body, "urn:caravan:problem:draining") {
		t.Errorf("got %d %s", status, body)
	}
}

// A command whose answer is held back is answered although the program drains.
func TestHeldCommandsOutlastTheDraining(t *testing.T) {
	held, release := make(chan struct{}), make(chan struct{})
	e, server := start(t, newSettings(t, func(w http.ResponseWriter, r *http.Request, c *proxy.Call) error {
		if c.Wait != 5*time.Second || c.Timeout != 15*time.Second {
			t.Errorf("the call has %s, %s of it to wait", c.Timeout, c.Wait)
		}
		close(held)
		<-release
		if err := r.Context().Err(); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusCreated)
		return nil
	}, unused))
	go func() { <-held; e.Drain(); close(release) }()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/command", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Prefer", "wait=5")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		t.Errorf("got %d", response.StatusCode)
	}
}

func TestTooManyAtOnceAreRefusedAtOnce(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 3)
	_, server := start(t, newSettings(t, func(w http.ResponseWriter, _ *http.Request, _ *proxy.Call) error {
		entered <- struct{}{}
		<-release
		w.WriteHeader(http.StatusNoContent)
		return nil
	}, func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusOK); return nil }))
	var done atomic.Int32
	answered := make(chan int, 3)
	for _, path := range []string{"/ask", "/ask", "/wait?wait=5s"} {
		go func() { status, _ := get(t, server.URL+path); done.Add(1); answered <- status }()
	}
	for range 3 {
		<-entered
	}
	for _, path := range []string{"/ask", "/wait?wait=5s"} {
		if status, body := get(t, server.URL+path); status != 503 || !strings.Contains(body, "overloaded") {
			t.Errorf("%s: got %d %s", path, status, body)
		}
	}
	if status, _ := get(t, server.URL+"/own"); status != 200 {
		t.Errorf("the gateway's own answer: got %d", status)
	}
	close(release)
	for range 3 {
		if status := <-answered; status != 204 {
			t.Errorf("one that was let in got %d", status)
		}
	}
	if status, _ := get(t, server.URL+"/ask"); status != 204 {
		t.Errorf("afterwards: got %d", status)
	}
}

func TestHeadIsAnsweredLikeGetWithoutABody(t *testing.T) {
	_, server := start(t, newSettings(t, func(w http.ResponseWriter, _ *http.Request, c *proxy.Call) error {
		if c.Match.Route.Method != "GET" {
			return problem.Internal()
		}
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hello")
		return nil
	}, unused))
	response, err := http.Head(server.URL + "/ask")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 200 || response.ContentLength != 5 {
		t.Errorf("got %d with length %d", response.StatusCode, response.ContentLength)
	}
}

func TestNewRefusesWhatDoesNotFit(t *testing.T) {
	forward := fakeForwarder(func(http.ResponseWriter, *http.Request, *proxy.Call) error { return nil })
	limiter, err := limit.New([]limit.Policy{{Name: "other", Quota: 1, Window: time.Minute}}, 64, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Settings){
		"a route without its handler": func(s *Settings) { s.Local = nil },
		"a handler without its route": func(s *Settings) { s.Local["GET /other"] = unused },
		"a handler for a service":     func(s *Settings) { s.Local["GET /ask"] = unused },
		"an unknown rate class":       func(s *Settings) { s.Limiter = limiter },
		"too many proxies":            func(s *Settings) { s.Proxies = maxHops + 1 },
	} {
		s := newSettings(t, forward, unused)
		change(&s)
		if _, err := New(s); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
