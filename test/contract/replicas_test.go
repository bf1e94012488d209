package contract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"caravan/dapr/launcher/process"
	"caravan/gateway/proxy"
	"caravan/gateway/route"
	"caravan/internal/problem"
)

const replicaRoutes = `apps: [orders]
routes:
  - { method: GET, path: "/v1/orders/{id}", app: orders, access: public, retry: safe }
  - { method: POST, path: /v1/orders, app: orders, access: public, retry: keyed }
`

// callers is the number of concurrent callers for each kind of call.
const callers = 3

// TestReplicas stops one of two replicas while calls run: its sidecar is killed, its program ends during calls, its
// program is down for a while, or its sidecar stops in order. Sidecars and the gateway's forwarder are real.
func TestReplicas(t *testing.T) {
	r := newReplicas(t)
	r.both(t)
	for what, away := range map[string]struct {
		do func(t *testing.T)
		// whether calls in flight may be lost, if they must not be repeated
		loses bool
	}{
		"the sidecar is killed": {r.killSidecar, true},
		// A sidecar that ends closes connections, and what it has not read resets them: one in some runs on a busy machine.
		"the sidecar says goodbye": {r.restartSidecar, true},
		"the program is killed":    {func(t *testing.T) { r.leave(t, true) }, true},
		// A call may come at the very moment when the port is closed: one in some runs, at hundreds of calls a second.
		"the program says goodbye":  {func(t *testing.T) { r.leave(t, false) }, true},
		"nothing happens to either": {func(*testing.T) {}, false},
	} {
		t.Run(what, func(t *testing.T) {
			stop := r.load(t)
			r.answered(t, 20)
			away.do(t)
			r.both(t)
			made, failed := stop()
			t.Logf("calls %v, failed %v, sent again %d", made, failed, r.repeats.Swap(0))
			for _, kind := range []string{"safe", "with a key"} {
				if n := len(failed[kind]); n > 0 {
					t.Errorf("%d of %d calls failed that may be repeated (%s): %v", n, made[kind], kind, failed[kind][0])
				}
			}
			most := 0
			if away.loses {
				most = callers
			}
			if n := len(failed["without a key"]); n > most {
				t.Errorf("%d of %d calls without a key failed, want %d at most: %v", n, made["without a key"], most, failed["without a key"])
			}
			r.unique(t)
		})
	}
}

// replicas is an app of two replicas, each a sidecar and a program, and the gateway's connection to them.
type replicas struct {
	programs  [2]*replicaProgram
	sidecars  [2]part
	forwarder *proxy.Forwarder
	table     *route.Table
	repeats   atomic.Int64
	calls     atomic.Int64
}

// replicaProgram answers with its name, and records what it was asked to do.
type replicaProgram struct {
	address string
	name    string
	answers atomic.Int64
	hold    atomic.Bool // answers are delayed
	leaving atomic.Bool // answers close their connections

	mu     sync.Mutex
	server *http.Server
	done   map[string]int // by body
}

func (p *replicaProgram) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if p.hold.Load() {
		time.Sleep(100 * time.Millisecond)
	}
	if r.Method == http.MethodPost {
		p.mu.Lock()
		p.done[string(body)]++
		p.mu.Unlock()
	}
	p.answers.Add(1)
	if p.leaving.Load() {
		w.Header().Set("Connection", "close")
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"by": p.name})
}

func (p *replicaProgram) start(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func(server *http.Server) { _ = server.Serve(listener) }(p.server) // ends with Close
}

func (p *replicaProgram) current() *http.Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server
}

func newReplicas(t *testing.T) *replicas {
	t.Helper()
	daprd := sidecarProgram(t)
	dir, ports := t.TempDir(), process.NewPorts()
	t.Cleanup(ports.Release)
	hosts, internalPort := []string{"127.0.0.1", "127.0.0.2"}, strconv.Itoa(take(t, ports))
	config, resources := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "resources")
	policies, err := os.ReadFile(filepath.Join(root, "dapr", "resources", "resiliency-gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(resources, 0o700), os.WriteFile(filepath.Join(resources, "resiliency.yaml"), policies, 0o600),
		os.WriteFile(config, []byte(`apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: replicas}
spec:
  nameResolution:
    component: dns
    version: v1
    configuration: {template: "`+strings.Join(hosts, ",")+":"+internalPort+`"}
`), 0o600)); err != nil {
		t.Fatal(err)
	}
	supervisor := process.NewSupervisor(dir, nil, nil)
	t.Cleanup(supervisor.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s := &stack{}
	run := func(name string, more ...string) int {
		port := take(t, ports)
		s.start(ctx, t, supervisor, process.Spec{
			Name: name + "-daprd", Path: daprd, Dir: dir, Ready: healthy(port),
			Env: []string{"DAPR_HOST_IP=127.0.0.1", "PATH=" + os.Getenv("PATH"), "HOME=" + dir},
			Args: append([]string{
				"--mode", "standalone", "--dapr-listen-addresses", "127.0.0.1", "--config", config, "--resources-path", resources,
				"--dapr-http-port", strconv.Itoa(port), "--dapr-grpc-port", strconv.Itoa(take(t, ports)),
				"--metrics-port", strconv.Itoa(take(t, ports)), "--placement-host-address", "", "--scheduler-host-address", "",
				"--dapr-graceful-shutdown-seconds", "5",
			}, more...),
		})
		return port
	}
	r := &replicas{}
	for i, host := range hosts {
		appPort := take(t, ports)
		p := &replicaProgram{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(appPort)), name: strconv.Itoa(i), done: make(map[string]int)}
		p.start(t)
		t.Cleanup(func() { _ = p.current().Close() })
		run("orders-"+p.name, "--app-id", "orders", "--app-port", strconv.Itoa(appPort),
			"--dapr-internal-grpc-port", internalPort, "--dapr-internal-grpc-listen-address", host)
		r.programs[i], r.sidecars[i] = p, s.processes[i]
	}
	port := run("gateway", "--app-id", "gateway", "--dapr-internal-grpc-port", strconv.Itoa(take(t, ports)))

	r.table, err = route.Parse([]byte(replicaRoutes), route.Known{})
	if err != nil {
		t.Fatal(err)
	}
	transport := proxy.NewTransport(time.Second)
	t.Cleanup(transport.CloseIdleConnections)
	r.forwarder = proxy.New(proxy.Settings{
		Sidecar: &url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}, Transport: transport,
		// It never opens, because the test needs the result of each call.
		Breakers: proxy.NewBreakers([]string{"orders"}, proxy.BreakerSettings{
			Consecutive: 1 << 30, Ratio: 1, Requests: 1 << 30, Window: time.Minute, Open: time.Second, Probes: 1,
		}, func(string, string, string) {}),
		Repeated: func(_ context.Context, repeat proxy.Repeat) {
			r.repeats.Add(1)
			if repeat.Failed {
				t.Logf("a repeat failed as well; the first: %v", repeat.Cause)
			}
		},
	})
	return r
}

// call makes one call of a kind, as the gateway does, and returns the name of the replica that answered.
func (r *replicas) call(ctx context.Context, kind string) (string, error) {
	number := strconv.FormatInt(r.calls.Add(1), 10)
	var request *http.Request
	if kind == "safe" {
		request = httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/orders/"+number, nil)
	} else {
		request = httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/orders", strings.NewReader(kind+" "+number))
	}
	if kind == "with a key" {
		request.Header.Set("Idempotency-Key", number)
	}
	match, err := r.table.Match(request.Method, request.URL.Path)
	if err != nil {
		return "", err
	}
	w := httptest.NewRecorder()
	if err := r.forwarder.Forward(w, request, &proxy.Call{Match: match, Timeout: match.Route.Timeout}); err != nil {
		return "", fmt.Errorf("%d: %w", problem.From(err).Status, err)
	}
	var answer struct{ By string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
		return "", fmt.Errorf("got %d %s: %w", w.Code, w.Body, err)
	}
	return answer.By, nil
}

// load makes all kinds of calls until it is stopped.
func (r *replicas) load(t *testing.T) (stop func() (made map[string]int, failed map[string][]error)) {
	ctx, cancel := context.WithCancel(t.Context())
	made, failed := make(map[string]int), make(map[string][]error)
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, kind := range []string{"safe", "with a key", "without a key"} {
		for range callers {
			all.Go(func() {
				for ctx.Err() == nil {
					_, err := r.call(t.Context(), kind)
					mu.Lock()
					made[kind]++
					if err != nil {
						failed[kind] = append(failed[kind], err)
					}
					mu.Unlock()
				}
			})
		}
	}
	return func() (map[string]int, map[string][]error) {
		cancel()
		all.Wait()
		return made, failed
	}
}

// answered waits until each replica has answered that many more calls.
func (r *replicas) answered(t *testing.T, more int64, of ...int) {
	t.Helper()
	if len(of) == 0 {
		of = []int{0, 1}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, i := range of {
		before := r.programs[i].answers.Load()
		eventually(ctx, t, func() error {
			if n := r.programs[i].answers.Load() - before; n < more {
				return fmt.Errorf("replica %d answered %d calls more, want %d", i, n, more)
			}
			return nil
		})
	}
}

// both waits until both replicas answer calls again.
func (r *replicas) both(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	eventually(ctx, t, func() error {
		by := make(map[string]int)
		for range 20 {
			who, err := r.call(ctx, "safe")
			if err != nil {
				return err
			}
			by[who]++
		}
		if by["0"] < 4 || by["1"] < 4 {
			return fmt.Errorf("of 20 calls the replicas got %v", by)
		}
		return nil
	})
}

func (r *replicas) killSidecar(t *testing.T) {
	lives := r.sidecars[1].Status().Restarts
	if err := r.sidecars[1].Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	eventually(ctx, t, func() error {
		if status := r.sidecars[1].Status(); status.Restarts == lives || status.State != process.Ready {
			return fmt.Errorf("the sidecar is %s in its life %d", status.State, status.Restarts)
		}
		return nil
	})
}

func (r *replicas) restartSidecar(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r.sidecars[1].Stop(ctx)
	r.answered(t, 20, 0)
	r.sidecars[1].Start()
	if err := r.sidecars[1].WaitReady(ctx, 2); err != nil {
		t.Fatal(err)
	}
}

// leave stops the program behind its sidecar for a while: with calls in flight if cut, otherwise after their answers.
func (r *replicas) leave(t *testing.T, cut bool) {
	p := r.programs[1]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var err error
	if cut {
		p.hold.Store(true)
		r.answered(t, 5, 1)
		err = p.current().Close()
		p.hold.Store(false)
	} else {
		p.leaving.Store(true) // as in internal/service
		r.answered(t, 100, 1)
		err = p.current().Shutdown(ctx)
		p.leaving.Store(false)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.answered(t, 100, 0)
	p.start(t)
}

// unique checks that no call without a key was executed twice.
func (r *replicas) unique(t *testing.T) {
	t.Helper()
	times := make(map[string]int)
	for _, p := range r.programs {
		p.mu.Lock()
		for body, n := range p.done {
			times[body] += n
		}
		p.mu.Unlock()
	}
	for body, n := range times {
		if n > 1 && strings.HasPrefix(body, "without a key") {
			t.Errorf("%q was carried out %d times", body, n)
		}
	}
}
