package service

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/internal/document"
	"caravan/internal/event"
)

// fakeSidecar is a sidecar with the health that the test sets.
type fakeSidecar struct {
	mu     sync.Mutex
	down   error
	store  error
	topics []string
	gets   int
}

func (f *fakeSidecar) Outbound(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}

func (f *fakeSidecar) Subscriptions(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.topics, nil
}

func (f *fakeSidecar) Store() document.Store { return fakeStore{f} }

func (f *fakeSidecar) set(change func(f *fakeSidecar)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

type fakeStore struct{ f *fakeSidecar }

func (s fakeStore) Get(context.Context, ...string) (map[string]document.Record, error) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.gets++
	return nil, s.f.store
}

func (s fakeStore) Put(context.Context, string, []byte, string) error { return errors.New("not used") }

// fakeClock is the time of the machine, but no wait on it takes longer than a moment.
type fakeClock struct{ ahead atomic.Int64 }

func (c *fakeClock) Now() time.Time { return time.Now().UTC().Add(time.Duration(c.ahead.Load())) }

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.ahead.Add(int64(d))
	select {
	case <-time.After(time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type running struct {
	t      *testing.T
	url    string
	client *http.Client
	stop   context.CancelFunc
	done   chan error
}

func serve(t *testing.T, s *Service, c connection) *running {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{t: t, url: "http://" + listener.Addr().String(), client: http.DefaultClient, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- s.serve(ctx, listener, c) }()
	t.Cleanup(func() { r.end() })
	return r
}

func (r *running) end() {
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Errorf("serving ended with %v", err)
	}
	r.done <- nil // so that the program can be ended twice
}

func (r *running) request(ctx context.Context, method, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, r.url+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("dapr-api-token", appToken)
	return r.client.Do(request)
}

func (r *running) readiness() (int, readiness) {
	response, err := r.request(context.Background(), http.MethodGet, "/readyz")
	if err != nil {
		return 0, readiness{}
	}
	defer response.Body.Close()
	var answer readiness
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		r.t.Errorf("reading the readiness: %v", err)
	}
	return response.StatusCode, answer
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen", what)
		}
		<-time.After(time.Millisecond)
	}
}

func TestReadinessFollowsSidecarStoreSubscriptionsAndOwnConditions(t *testing.T) {
	s, _ := newTestService(t)
	clk := &fakeClock{}
	s.Clock = clk
	var cold atomic.Bool
	sidecar := &fakeSidecar{down: errors.New("connection refused")}
	if err := s.build(context.Background(), func(_ context.Context, s *Service) error {
		s.subscribe("payments", func(context.Context, event.Event) error { return nil })
		s.subscribe("dead", func(context.Context, event.Event) error { return nil })
		s.Ready("cache", func(context.Context) error {
			if cold.Load() {
				return errors.New("the cache is cold")
			}
			return nil
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	program := serve(t, s, sidecar)
	state := func(status int, text string, failing string) func() bool {
		return func() bool {
			clk.ahead.Add(int64(3 * time.Second)) // past every cached answer
			code, answer := program.readiness()
			return code == status && answer.Status == text && (failing == "" || (answer.Checks[failing] != "ok" && answer.Checks[failing] != ""))
		}
	}
	eventually(t, "starting", state(503, "starting", "sidecar"))
	sidecar.set(func(f *fakeSidecar) { f.down = nil })
	eventually(t, "a missing subscription", state(503, "unready", "subscriptions"))
	sidecar.set(func(f *fakeSidecar) { f.topics = []string{"payments", "orders.dead"} })
	eventually(t, "ready", state(200, "ready", ""))
	sidecar.set(func(f *fakeSidecar) { f.store = errors.New("the disk is gone") })
	eventually(t, "a failing store", state(503, "unready", "store"))
	sidecar.set(func(f *fakeSidecar) { f.store, f.down = nil, errors.New("connection refused") })
	eventually(t, "a lost sidecar", state(503, "unready", "sidecar"))
	sidecar.set(func(f *fakeSidecar) { f.down = nil })
	cold.Store(true)
	eventually(t, "an own condition", state(503, "unready", "cache"))
	cold.Store(false)
	eventually(t, "ready again", state(200, "ready", ""))
}

func TestReadinessIsNotALoadOnTheStore(t *testing.T) {
	s, _ := newTestService(t)
	sidecar := &fakeSidecar{}
	started(t, s, func(_ context.Context, s *Service) error {
		s.route("POST /internal/work", kindInternal, func(http.ResponseWriter, *http.Request) error { return nil })
		return nil
	})
	frozen := &frozenClock{at: time.Unix(1000, 0).UTC()}
	s.Clock = frozen
	s.standardProbes(sidecar)
	for range 50 {
		if w := send(s, "GET", "/readyz", nil); w.Code != 200 {
			t.Fatalf("readyz is %d: %s", w.Code, w.Body)
		}
	}
	if sidecar.gets != 1 {
		t.Errorf("the store was read %d times", sidecar.gets)
	}
}

type frozenClock struct{ at time.Time }

func (c *frozenClock) Now() time.Time                                   { return c.at }
func (c *frozenClock) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// TestStoppingFinishesWhatWasBegun with the protocols that a sidecar may use.
func TestStoppingFinishesWhatWasBegun(t *testing.T) {
	t.Run("http", func(t *testing.T) { stoppingFinishes(t, http.DefaultClient, 1) })
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	t.Run("h2c", func(t *testing.T) {
		stoppingFinishes(t, &http.Client{Transport: &http.Transport{Protocols: protocols}}, 2)
	})
}

func stoppingFinishes(t *testing.T, client *http.Client, major int) {
	s, _ := newTestService(t)
	var (
		mu    sync.Mutex
		order []string
	)
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	if err := s.build(context.Background(), func(_ context.Context, s *Service) error {
		s.route("POST /internal/slow", kindInternal, func(w http.ResponseWriter, r *http.Request) error {
			close(entered)
			<-release
			note("request")
			_, err := io.WriteString(w, "whole")
			return errors.Join(err, r.Context().Err())
		})
		s.route("GET /v1/stream", kindLong, func(w http.ResponseWriter, r *http.Request) error {
			_, _ = io.WriteString(w, "hello\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return nil
		})
		s.Background("worker", func(ctx context.Context) error {
			<-ctx.Done()
			note("worker")
			return nil
		})
		s.BackgroundLast("relay", func(ctx context.Context) error {
			<-ctx.Done()
			note("relay")
			return nil
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	program := serve(t, s, &fakeSidecar{})
	program.client = client
	eventually(t, "ready", func() bool { code, _ := program.readiness(); return code == 200 })

	stream, err := program.request(context.Background(), http.MethodGet, "/v1/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if stream.ProtoMajor != major {
		t.Errorf("the protocol is %s", stream.Proto)
	}
	lines := bufio.NewReader(stream.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("the stream began with %q, %v", line, err)
	}
	answer := make(chan string, 1)
	go func() {
		response, err := program.request(context.Background(), http.MethodPost, "/internal/slow")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		answer <- string(body)
	}()
	<-entered
	program.stop()
	if rest, err := io.ReadAll(lines); err != nil || len(rest) != 0 {
		t.Errorf("the stream ended with %q, %v", rest, err)
	}
	close(release)
	if got := <-answer; got != "whole" {
		t.Errorf("the request in flight got %q", got)
	}
	program.end()
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(order, " "); got != "worker request relay" && got != "request worker relay" {
		t.Errorf("the order of ending was %q", got)
	}
}

func TestADrainingProgramIsNotReadyWhileItStillAnswers(t *testing.T) {
	s, _ := newTestService(t)
	started(t, s, func(_ context.Context, s *Service) error {
		s.route("POST /internal/work", kindInternal, func(http.ResponseWriter, *http.Request) error { return nil })
		return nil
	})
	s.standardProbes(&fakeSidecar{})
	if w := send(s, "GET", "/readyz", nil); w.Code != 200 || w.Header().Get("Connection") != "" {
		t.Fatalf("readyz is %d, connection %q", w.Code, w.Header().Get("Connection"))
	}
	s.draining.Store(true)
	if w := send(s, "GET", "/readyz", nil); w.Code != 503 || !strings.Contains(w.Body.String(), `"draining"`) {
		t.Errorf("readyz is %d %s", w.Code, w.Body)
	}
	if w := send(s, "POST", "/internal/work", nil); w.Code != 200 || w.Header().Get("Connection") != "close" {
		t.Errorf("a request got %d, connection %q", w.Code, w.Header().Get("Connection"))
	}
}

// TestAProgramThatStopsLeavesWhatItCannotAnswerToOthers: the connection is closed, and the gateway sends the call to
// another replica. Faults of a client, and an unavailable store while the program is not stopping, are answered as
// usual.
func TestAProgramThatStopsLeavesWhatItCannotAnswerToOthers(t *testing.T) {
	s, out := newTestService(t)
	started(t, s, func(_ context.Context, s *Service) error {
		s.route("POST /internal/read", kindInternal, func(http.ResponseWriter, *http.Request) error {
			return document.Unavailable{Err: errors.New("the sidecar is gone")}
		})
		s.route("POST /internal/missing", kindInternal, func(http.ResponseWriter, *http.Request) error { return document.ErrNotFound })
		return nil
	})
	answered := func(path string) (code int, aborted bool) {
		defer func() {
			if value := recover(); value != nil {
				err, isError := value.(error)
				aborted = isError && errors.Is(err, http.ErrAbortHandler)
			}
		}()
		return send(s, "POST", path, nil).Code, false
	}
	if code, aborted := answered("/internal/read"); code != 503 || aborted {
		t.Errorf("a program that runs answers %d, aborted %t", code, aborted)
	}
	s.draining.Store(true)
	if code, aborted := answered("/internal/read"); !aborted {
		t.Errorf("a program that stops answers %d", code)
	}
	if code, aborted := answered("/internal/missing"); code != 404 || aborted {
		t.Errorf("what is missing is answered with %d, aborted %t", code, aborted)
	}
	if lines := out.lines(t, "a call is given up, for another replica to answer"); len(lines) != 1 {
		t.Errorf("the log says so %d times", len(lines))
	}
}

func TestBackgroundWorkStartsAgainAfterFailureAndPanic(t *testing.T) {
	s, out := newTestService(t)
	s.Clock = &fakeClock{}
	var runs atomic.Int32
	if err := s.build(context.Background(), func(_ context.Context, s *Service) error {
		s.Background("worker", func(ctx context.Context) error {
			switch runs.Add(1) {
			case 1:
				return errors.New("the first time it fails")
			case 2:
				panic("the second time it panics")
			case 3:
				return nil
			}
			t.Error("finished work was started again")
			return nil
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	program := serve(t, s, &fakeSidecar{})
	eventually(t, "the end of the work", func() bool { return len(out.lines(t, "background work finished")) == 1 })
	program.end()
	if n := len(out.lines(t, "background work failed and starts again")); n != 2 || runs.Load() != 3 {
		t.Errorf("%d failures were logged in %d runs", n, runs.Load())
	}
}

func TestARequestThatNeverEndsDoesNotHoldTheProgram(t *testing.T) {
	s, out := newTestService(t, "--drain.timeout=50ms", "--http.request_timeout=1h", "--http.read_timeout=2h")
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	if err := s.build(context.Background(), func(_ context.Context, s *Service) error {
		s.route("POST /internal/stuck", kindInternal, func(http.ResponseWriter, *http.Request) error {
			close(entered)
			<-release
			return nil
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	program := serve(t, s, &fakeSidecar{})
	eventually(t, "ready", func() bool { code, _ := program.readiness(); return code == 200 })
	go func() {
		if response, err := program.request(context.Background(), http.MethodPost, "/internal/stuck"); err == nil {
			response.Body.Close()
		}
	}()
	<-entered
	program.end()
	if len(out.lines(t, "requests did not finish in time and are cut off")) != 1 {
		t.Error("cutting off was not logged")
	}
}
