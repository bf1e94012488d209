package cells

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/process"
	"caravan/internal/event"
	"caravan/test/chaos/intercept"
	"caravan/test/repository"
	"caravan/test/stacktest"
)

// settings come from the environment.
var settings = struct{ broker, store, daprd, cells, replicas, keep string }{
	broker: cmp.Or(stacktest.Take("CARAVAN_E2E_BROKER"), "rabbitmq"),
	store:  cmp.Or(stacktest.Take("CARAVAN_E2E_STORE"), "sqlite"),
	daprd:  stacktest.Take("CARAVAN_DAPRD"),
	// cells is "all" for every cell. replicas is how many replicas each service has; one when empty.
	cells:    stacktest.Take("CARAVAN_CHAOS_CELLS"),
	replicas: stacktest.Take("CARAVAN_CHAOS_REPLICAS"),
	keep:     stacktest.Take("CARAVAN_E2E_KEEP"),
}

// world is a running stack in which every program talks to its sidecar through the interceptor.
type world struct {
	*launcher.Stack
	faults *intercept.Interceptor
	admin  *client.Client
	http   *http.Client

	replicas int // of each service

	mu        sync.Mutex
	exclusive map[string]*sync.Mutex // by app: held by the cell that may crash it
}

// start starts the world for a test and stops it afterwards.
func start(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir, err := os.MkdirTemp("", "caravan-cells-*")
	if err != nil {
		t.Fatal(err)
	}
	// A database server that does not run as root needs access.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &world{
		faults: intercept.New(), exclusive: make(map[string]*sync.Mutex),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}, Timeout: 40 * time.Second},
	}
	if w.replicas, err = strconv.Atoi(cmp.Or(settings.replicas, "1")); err != nil || w.replicas < 1 {
		t.Fatalf("CARAVAN_CHAOS_REPLICAS is %q; want a number from 1", settings.replicas)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // the first run builds daprd
	defer cancel()
	w.Stack, err = launcher.Start(ctx, launcher.Options{
		Root: "../../..", Dir: dir, Broker: settings.broker, Store: settings.store, Daprd: settings.daprd,
		FreePorts: true, Env: environment(), Between: w.faults.Between,
		Replicas: w.replicas,
	})
	t.Cleanup(func() { w.discard(dir) })
	if errors.Is(err, infra.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ready, stop := context.WithTimeout(t.Context(), waitLimit)
	defer stop()
	if err := w.WaitReady(ready); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stack to serve the admin", func(ctx context.Context) error { return w.open(ctx) })
	t.Logf("the stack was ready after %s", time.Since(began).Round(time.Millisecond))
	return w
}

func (w *world) discard(dir string) {
	w.faults.Close()
	if w.Stack != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		w.Stop(ctx)
	}
	if settings.keep != "" {
		fmt.Fprintln(os.Stderr, "kept", dir)
		return
	}
	_ = os.RemoveAll(dir)
}

// environment is that of stacktest, but products caches for a shorter time.
func environment() map[string]map[string]string {
	env := stacktest.Environment(repository.Root("../../..").AppIDs())
	// Prices are read again for each order, so that a fault can affect the read.
	env["products"]["CARAVAN_CATALOGUE_READ_AGE"] = "10ms"
	// Reservations expire while the cells run, so that products asks orders about each that lasts longer than a moment.
	env["products"]["CARAVAN_RESERVATION_TTL"] = "2s"
	env["products"]["CARAVAN_RESERVATION_SWEEP"] = "500ms"
	return env
}

// open logs the admin in and makes a call to every service.
func (w *world) open(ctx context.Context) error {
	admin, err := client.New(w.GatewayURL(), w.http).Login(ctx, w.Admin().Email, w.Admin().Password)
	if err != nil {
		return err
	}
	for _, ask := range []func() error{
		func() error { _, err := admin.GetOwnUser(ctx); return err },
		func() error { _, err := admin.ListOrders(ctx, client.ListOrdersParams{}); return err },
		func() error { _, err := admin.GetWallet(ctx); return err },
		func() error { _, err := admin.ListNotifications(ctx, client.ListNotificationsParams{}); return err },
		func() error { _, err := admin.OpsAudit(ctx); return err },
	} {
		if err := ask(); err != nil {
			return err
		}
	}
	w.admin = admin
	return nil
}

// claim waits for the exclusive right to crash processes of an app.
func (w *world) claim(app string) (yield func()) {
	w.mu.Lock()
	own, ok := w.exclusive[app]
	if !ok {
		own = &sync.Mutex{}
		w.exclusive[app] = own
	}
	w.mu.Unlock()
	own.Lock()
	return sync.OnceFunc(own.Unlock)
}

// programs are the processes of an app, or the process of a server.
func (w *world) programs(app string) []string {
	all := []string{app}
	for n := 2; n <= w.replicas; n++ {
		if _, err := w.Process(fmt.Sprintf("%s-%d", app, n)); err == nil {
			all = append(all, fmt.Sprintf("%s-%d", app, n))
		}
	}
	return all
}

// crash kills a process and keeps it down.
func (w *world) crash(name string) error {
	if err := w.Kill(name, syscall.SIGKILL); err != nil && !errors.Is(err, process.ErrNotRunning) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	return w.StopProcess(ctx, name)
}

// raise starts what crash has stopped and waits until it is ready.
func (w *world) raise(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	return w.StartProcess(ctx, name)
}

// stored is a document as the store has it.
type stored struct {
	value map[string]any
	etag  string
	raw   string
}

// number returns a numeric member of the document, or 0 if it is absent.
func (s stored) number(name string) int64 {
	n, _ := s.value[name].(json.Number)
	value, _ := n.Int64()
	return value
}

// document reads a document of a service through its sidecar, without the service.
func (w *world) document(ctx context.Context, app, key string) (stored, error) {
	raw, header, err := w.state(ctx, app, http.MethodGet, "/"+url.PathEscape(key), nil)
	if err != nil || len(raw) == 0 {
		return stored{}, err
	}
	s := stored{etag: header.Get("ETag"), raw: string(raw)}
	if err := decode(raw, &s.value); err != nil {
		return stored{}, fmt.Errorf("document %s is %q: %w", key, raw, err)
	}
	return s, nil
}

// overtake writes a document as another replica would, either unchanged or as edit changes it. The write id, the
// revision and the store's ETag are new.
func (w *world) overtake(ctx context.Context, app, key string, edit func(map[string]any)) error {
	s, err := w.document(ctx, app, key)
	if err != nil {
		return err
	}
	if s.value == nil {
		return fmt.Errorf("there is no document %s to overtake a writer of", key)
	}
	s.value["revision"] = s.number("revision") + 1
	s.value["writeId"] = "rival"
	edit(s.value)
	return w.put(ctx, app, key, s.value, s.etag)
}

func (w *world) put(ctx context.Context, app, key string, value any, etag string) error {
	item := map[string]any{"key": key, "value": value, "options": map[string]string{"concurrency": "first-write"}}
	if etag != "" {
		item["etag"] = etag
	}
	body, err := json.Marshal([]any{item})
	if err != nil {
		return err
	}
	_, _, err = w.state(ctx, app, http.MethodPost, "", body)
	return err
}

func (w *world) state(ctx context.Context, app, method, path string, body []byte) ([]byte, http.Header, error) {
	return w.sidecar(ctx, app, method, "/v1.0/state/store"+path, "application/json", body)
}

// invoke makes the sidecar of an app call another app, without the program of the first.
func (w *world) invoke(ctx context.Context, app, target, path string, body any) ([]byte, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	answer, _, err := w.sidecar(ctx, app, http.MethodPost, "/v1.0/invoke/"+target+"/method"+path, "application/json", raw)
	return answer, err
}

// publish publishes an event as an app.
func (w *world) publish(ctx context.Context, app, topic string, e event.Event) error {
	raw, err := e.CloudEvent()
	if err != nil {
		return err
	}
	_, _, err = w.sidecar(ctx, app, http.MethodPost, "/v1.0/publish/pubsub/"+topic, event.ContentType, raw)
	return err
}

func (w *world) sidecar(ctx context.Context, app, method, path, contentType string, body []byte) ([]byte, http.Header, error) {
	status, err := w.Process(app + "-daprd")
	if err != nil {
		return nil, nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, status.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("dapr-api-token", w.APIToken())
	request.Header.Set("Content-Type", contentType)
	response, err := w.http.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("%s %s at the sidecar of %s: %s %s", method, path, app, response.Status, raw)
	}
	return raw, response.Header, err
}

// waitLimit is how long a cell waits for a condition.
const waitLimit = 2 * time.Minute

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	if err := within(condition); err != nil {
		t.Fatalf("waiting for %s, not after %s: %v", what, waitLimit, err)
	}
}

// within waits until a condition holds. If it does not, within returns the reason.
func within(condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // the end of the time is not the cause
			last = err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return last
		}
	}
}

// explain prints what the programs logged about an order.
func (w *world) explain(t *testing.T, texts ...string) {
	lines, err := w.LogLines(func(line launcher.LogLine) bool {
		for _, text := range texts {
			if strings.Contains(line.Raw, text) {
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Log(err)
		return
	}
	const most = 80
	lines = lines[max(0, len(lines)-most):]
	var out strings.Builder
	for _, line := range lines {
		out.WriteString(launcher.Format(line, "", false) + "\n")
	}
	t.Logf("what was logged about it:\n%s", out.String())
}
