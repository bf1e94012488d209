package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/process"
	"caravan/internal/event"
	"caravan/test/apicheck"
	"caravan/test/stacktest"
	"caravan/test/tracesink"
)

// services are the programs that handle an order.
var services = []string{"users", "products", "orders", "payments", "notifications", "gateway"}

// stack is a running system, with the data that tests need.
type stack struct {
	target
	document *apicheck.Document
	sink     *tracesink.Sink
	dir      string // of the launcher's stacks
	// faulted is set when a process was ended, until the next audit.
	faulted *atomic.Bool
}

// Kill is the target's.
func (s *stack) Kill(ctx context.Context, name string) error {
	s.faulted.Store(true)
	return s.target.Kill(ctx, name)
}

// Crash is the target's.
func (s *stack) Crash(ctx context.Context, name string) error {
	s.faulted.Store(true)
	return s.target.Crash(ctx, name)
}

// Restart is the target's.
func (s *stack) Restart(ctx context.Context) error {
	s.faulted.Store(true)
	return s.target.Restart(ctx)
}

// start starts a stack on free ports in a new folder and waits until it is ready.
func start(options launcher.Options) (*stack, error) {
	dir, err := os.MkdirTemp("", "caravan-e2e-*")
	if err != nil {
		return nil, fmt.Errorf("making the stack's folder: %w", err)
	}
	// A database server that refuses to run as root needs access.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, fmt.Errorf("opening the stack's folder: %w", err)
	}
	return startIn(dir, options)
}

// startIn starts a stack in a folder, which may contain the data of an earlier one.
func startIn(dir string, options launcher.Options) (_ *stack, err error) {
	s := &stack{dir: dir, sink: tracesink.New(), faulted: new(atomic.Bool)}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute) // the first time, daprd is built
	defer cancel()
	if s.target, err = launch(ctx, s, options); err == nil {
		err = s.getReady()
	}
	if err != nil {
		err = fmt.Errorf("starting the stack: %w%s", err, s.complaints())
		s.stop()
		return nil, err
	}
	return s, nil
}

// complaints says what is wrong with a stack that did not become ready, with a line break before each line: processes that
// were started again, calls that do not get 200, and the last warnings in the logs.
func (s *stack) complaints() string {
	if s.target == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	var all strings.Builder
	processes, err := s.Processes(ctx)
	if err != nil {
		fmt.Fprintf(&all, "\nlisting the processes: %v", err)
	}
	for _, p := range processes {
		if p.State != process.Ready || p.Restarts > 0 {
			fmt.Fprintf(&all, "\n%s is %s since %s, started again %d times, last exit %q", p.Name, p.State, p.Since, p.Restarts, p.LastExit)
		}
		app, isSidecar := strings.CutSuffix(p.Name, "-daprd")
		switch {
		case p.Name == "gateway-daprd":
			for _, service := range services {
				s.complain(ctx, &all, p.URL+"/v1.0/invoke/"+service+"/method/readyz", app)
			}
		case isSidecar:
			s.complain(ctx, &all, p.URL+"/v1.0/healthz/outbound", app)
			s.complain(ctx, &all, p.URL+"/v1.0/invoke/"+app+"/method/readyz", app)
		case slices.Contains(services, p.Name):
			s.complain(ctx, &all, p.URL+"/readyz", app)
		}
	}
	lines, err := s.LogLines(ctx, func(line launcher.LogLine) bool {
		return line.Level != "INFO" && line.Level != "DEBUG" && !strings.Contains(line.Raw, " level=info ")
	})
	if err != nil {
		fmt.Fprintf(&all, "\nreading the logs: %v", err)
	}
	for _, line := range lines[max(0, len(lines)-20):] {
		fmt.Fprintf(&all, "\n%s: %.300s", line.Process, line.Raw)
	}
	return all.String()
}

// complain writes a line about a call that does not get a 200 within five seconds.
func (s *stack) complain(ctx context.Context, all io.Writer, address, app string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		fmt.Fprintf(all, "\n%v", err)
		return
	}
	request.Header.Set("dapr-api-token", s.APIToken(app))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		fmt.Fprintf(all, "\n%v", err)
		return
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(io.LimitReader(response.Body, 500)); err != nil || response.StatusCode/100 != 2 {
		fmt.Fprintf(all, "\n%s answers %s: %s %v", address, response.Status, body, err)
	}
}

// describe reads the API's description once, because it counts the calls also over restarts of the stack.
func (s *stack) describe(ctx context.Context) error {
	if s.document != nil {
		return nil
	}
	raw, err := fetch(ctx, s.GatewayURL()+"/openapi.json")
	if err != nil {
		return fmt.Errorf("reading the API's description: %w", err)
	}
	s.document, err = apicheck.Parse(ctx, raw)
	return err
}

func (s *stack) getReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := s.describe(ctx); err != nil {
		return err
	}
	return within(waitLimit, func() error {
		for _, service := range services {
			if err := s.reachable(ctx, service); service != "gateway" && err != nil {
				return fmt.Errorf("reaching %s: %w", service, err)
			}
		}
		return s.trusted()
	})
}

// trusted waits until every service has the keys that verify access tokens. A ready service may still lack them: if its
// sidecar tried too early to reach the users service, it pauses before the next attempt.
func (s *stack) trusted() error {
	admin := s.admin()
	for _, path := range []string{"/v1/users/me", "/v1/orders", "/v1/wallet", "/v1/notifications", "/v1/ops/audit"} {
		got, err := admin.call(http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		if got.status != http.StatusOK {
			return errors.New(got.String())
		}
	}
	return nil
}

// admin is a client of no test.
func (s *stack) admin() *client {
	return &client{base: s.GatewayURL(), http: http.DefaultClient, trail: &trail{}, email: s.Admin().Email, password: s.Admin().Password}
}

func fetch(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", address, response.Status, raw)
	}
	return raw, err
}

// stop stops every process and removes the folder, unless CARAVAN_E2E_KEEP is set.
func (s *stack) stop() {
	if s.target != nil {
		s.Remove()
	}
	s.discard()
}

var keep = stacktest.Take("CARAVAN_E2E_KEEP") != ""

func (s *stack) discard() {
	s.sink.Close()
	if keep {
		fmt.Fprintln(os.Stderr, "kept", s.dir)
		return
	}
	_ = os.RemoveAll(s.dir)
}

// kill kills a process like a crash, and starts it again without the launcher's pause for processes that end
// repeatedly.
func (s *stack) kill(t *testing.T, name string) {
	t.Helper()
	s.crash(t, name)
	s.raise(t, name)
}

// restart kills a process and waits until the target has started it again. On the cluster the kubelet does that in 3 to
// 4 s. A removed and recreated pod would be away for longer than a request waits.
func (s *stack) restart(t *testing.T, name string) {
	t.Helper()
	if settings.target != targetCluster {
		s.kill(t, name)
		return
	}
	before := s.status(t, name)
	if err := s.Kill(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	eventually(t, name+" to serve again", func() error { return s.serves(t, before) })
}

// serves checks that a process was restarted since before, and is ready.
func (s *stack) serves(t *testing.T, before process.Status) error {
	t.Helper()
	now := s.status(t, before.Name)
	if now.PID == 0 || now.PID == before.PID {
		return errorf("it is %s as process %d, as before %d", now.State, now.PID, before.PID)
	}
	return s.Serves(t.Context(), before.Name)
}

// crash kills a process with all its replicas and keeps them down, at most until the end of the test.
func (s *stack) crash(t *testing.T, name string) {
	t.Helper()
	t.Cleanup(func() { s.raise(t, name) })
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	for _, replica := range s.replicas(t, name) {
		if err := s.Crash(ctx, replica); err != nil {
			t.Fatal(err)
		}
	}
}

// replicas returns the names of a process and its replicas: for orders-daprd also orders-2-daprd.
func (s *stack) replicas(t *testing.T, name string) []string {
	t.Helper()
	s.status(t, name) // fails if there is none
	app, role, _ := strings.Cut(name, "-")
	names := []string{name}
	for _, status := range s.processes(t) {
		rest, same := strings.CutPrefix(status.Name, app+"-")
		number, of, _ := strings.Cut(rest, "-")
		if _, err := strconv.Atoi(number); same && err == nil && of == role {
			names = append(names, status.Name)
		}
	}
	return names
}

// raise starts what crash has stopped, and waits until it is ready.
func (s *stack) raise(t *testing.T, name string) {
	t.Helper()
	if s.status(t, name).State != process.Stopped {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	for _, replica := range s.replicas(t, name) {
		if err := s.Start(ctx, replica); err != nil {
			t.Fatal(err)
		}
	}
	if service := strings.TrimSuffix(name, "-daprd"); service != "gateway" && slices.Contains(services, service) {
		eventually(t, "the gateway to reach "+service, func() error { return s.reachable(ctx, service) })
	}
}

// reachable asks the gateway whether it can reach a service. Sidecars that lost their connection pause before they
// reconnect.
func (s *stack) reachable(ctx context.Context, service string) error {
	raw, err := fetch(ctx, s.GatewayURL()+"/healthz")
	if raw == nil {
		return err
	}
	var health struct {
		Services map[string]struct{ Status string } `json:"services"`
	}
	if err := json.Unmarshal(raw, &health); err != nil {
		return err
	}
	if status := health.Services[service].Status; status != "ready" {
		return fmt.Errorf("it is %q", status)
	}
	return nil
}

// processes returns all processes.
func (s *stack) processes(t *testing.T) []process.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	all, err := s.Processes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (s *stack) status(t *testing.T, name string) process.Status {
	t.Helper()
	all := s.processes(t)
	i := slices.IndexFunc(all, func(status process.Status) bool { return status.Name == name })
	if i < 0 {
		t.Fatalf("no process is called %s", name)
	}
	return all[i]
}

// mention returns the log lines with any of the texts, by time.
func (s *stack) mention(t *testing.T, texts ...string) []launcher.LogLine {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	lines, err := s.LogLines(ctx, func(line launcher.LogLine) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(line.Raw, text) })
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// publish publishes an event as a service does, through its sidecar.
func (s *stack) publish(t *testing.T, service, topic string, e event.Event) {
	t.Helper()
	raw, err := e.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	address := s.status(t, service+"-daprd").URL + "/v1.0/publish/pubsub/" + topic
	request, err := http.NewRequest(http.MethodPost, address, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("dapr-api-token", s.APIToken(service))
	request.Header.Set("Content-Type", "application/cloudevents+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		t.Fatalf("publishing answers %s", response.Status)
	}
}

// documents is the state of one service.
func (s *stack) documents(t *testing.T, service string) stacktest.Documents {
	t.Helper()
	return stacktest.Documents{T: t, Address: s.status(t, service+"-daprd").URL, Token: s.APIToken(service)}
}
