package resiliency

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/infra"
	"caravan/test/stacktest"
)

// sidecarProgram is the value of CARAVAN_DAPRD. It is removed from the environment, because the programs refuse unknown
// CARAVAN_ variables.
var sidecarProgram = func() string {
	value := os.Getenv("CARAVAN_DAPRD")
	_ = os.Unsetenv("CARAVAN_DAPRD")
	return value
}()

// waitLimit is the longest wait of a test for a condition, on a machine that may be busy.
const waitLimit = 90 * time.Second

// stack is a whole system in which the test is a proxy before each program.
type stack struct {
	*launcher.Stack
	dir    string
	apps   map[string]*app
	client *http.Client
}

// app is the proxy before a program: it sees the sidecar's requests, and answers them or passes them on.
type app struct {
	server  *http.Server
	program http.Handler

	mu     sync.Mutex
	answer map[string]http.HandlerFunc // by path; nil passes it on
	seen   map[string][]time.Time      // by path
	hears  map[*int]func(path string, body []byte) http.HandlerFunc
}

var common struct {
	once  sync.Once
	stack *stack
	err   error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if common.stack != nil {
		common.stack.stop()
	}
	os.Exit(code)
}

// shared returns the stack of all tests. The first test starts it.
func shared(t *testing.T) *stack {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	common.once.Do(func() { common.stack, common.err = start() })
	if errors.Is(common.err, infra.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(common.err)
	}
	if common.err != nil {
		t.Fatal(common.err)
	}
	return common.stack
}

func start() (*stack, error) {
	here, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the repository: %w", err)
	}
	dir, err := os.MkdirTemp("", "caravan-resiliency-*")
	if err != nil {
		return nil, fmt.Errorf("making the stack's folder: %w", err)
	}
	s := &stack{dir: dir, apps: make(map[string]*app), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute) // the first time, daprd is built
	defer cancel()
	s.Stack, err = launcher.Start(ctx, launcher.Options{
		Root: filepath.Join(here, "..", ".."), Dir: dir, Daprd: sidecarProgram, FreePorts: true, Broker: "rabbitmq", Store: "sqlite",
		Between: s.stand,
		Env: map[string]map[string]string{
			"gateway": {"CARAVAN_LIMIT_SCALE": "1000"},
			"orders":  {"CARAVAN_SAGA_FIRST_BACKOFF": "200ms", "CARAVAN_SAGA_MAX_BACKOFF": "1s", "CARAVAN_SAGA_SWEEP_EVERY": "500ms"},
		},
	})
	if err != nil {
		s.discard()
		return nil, fmt.Errorf("starting the stack: %w", err)
	}
	waiting, stop := context.WithTimeout(ctx, 2*waitLimit)
	defer stop()
	if err := s.WaitReady(waiting); err != nil {
		s.stop()
		return nil, fmt.Errorf("waiting for the stack: %w", err)
	}
	return s, nil
}

func (s *stack) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s.Stop(ctx)
	s.discard()
}

func (s *stack) discard() {
	for _, a := range s.apps {
		_ = a.server.Close()
	}
	_ = os.RemoveAll(s.dir)
}

// stand puts an app before a program. The sidecar gets its address.
func (s *stack) stand(link launcher.Link) (launcher.Link, error) {
	if link.App == "gateway" {
		return link, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return link, fmt.Errorf("standing before %s: %w", link.App, err)
	}
	program := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(link.AppPort))})
	program.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) } // the caller sees the same as without a proxy
	a := &app{program: program, answer: make(map[string]http.HandlerFunc), seen: make(map[string][]time.Time)}
	a.server = &http.Server{Handler: a, Protocols: stacktest.Protocols(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = a.server.Serve(listener) }() // ends when the stack is discarded
	s.apps[link.App] = a
	link.AppPort = listener.Addr().(*net.TCPAddr).Port
	return link, nil
}

// ServeHTTP records a request, and answers it or passes it on.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.seen[r.URL.Path] = append(a.seen[r.URL.Path], time.Now())
	answer := a.answer[r.URL.Path]
	a.mu.Unlock()
	if answer == nil {
		answer = a.heard(r)
	}
	if answer == nil {
		answer = a.program.ServeHTTP
	}
	answer(w, r)
}

// answers sets the answer for a path until the test ends, and forgets earlier requests.
func (a *app) answers(t *testing.T, path string, answer http.HandlerFunc) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer[path] = answer
	delete(a.seen, path)
	t.Cleanup(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.answer, path)
	})
}

// came returns the times of the requests for a path.
func (a *app) came(path string) []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]time.Time(nil), a.seen[path]...)
}

// reply is the answer that a caller got.
type reply struct {
	status int
	body   string
	took   time.Duration
}

// call invokes a path of another app through one app's sidecar, as the programs do.
func (s *stack) call(t *testing.T, from, to, path string) reply {
	t.Helper()
	caller, err := s.Process(from + "-daprd")
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, caller.URL+"/v1.0/invoke/"+to+"/method"+path, bytes.NewReader([]byte("{}")))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("dapr-api-token", s.APIToken())
	request.Header.Set("Content-Type", "application/json")
	began := time.Now()
	response, err := s.client.Do(request)
	if err != nil {
		t.Errorf("calling %s%s: %v", to, path, err)
		return reply{}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("calling %s%s: %v", to, path, err)
	}
	return reply{response.StatusCode, string(body), time.Since(began)}
}

// fresh returns a path that was never called, because sidecars have a circuit breaker for each app and path.
func fresh(what string) string {
	return "/internal/" + what + "-" + strconv.FormatInt(paths.Add(1), 10)
}

var paths atomic.Int64

// saying answers with a status, as services do.
func saying(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if status >= http.StatusBadRequest {
			w.Header().Set("Content-Type", "application/problem+json")
		}
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "{}")
	}
}

// vanishing closes the connection instead of answering.
func vanishing(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(waitLimit)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
