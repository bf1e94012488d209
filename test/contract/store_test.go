// Package contract runs the contract suite of documents through real sidecars. What package document relies on must be
// true for every component set, not only for the fake.
package contract

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/manifest"
	"caravan/dapr/launcher/process"
	"caravan/internal/clock"
	"caravan/internal/document/documenttest"
	"caravan/internal/sidecar"
)

// app is the app whose component set is tested. The suite is the same for all.
const app = "orders"

// root is the folder of the repository.
const root = "../.."

func TestStores(t *testing.T) {
	for _, kind := range infra.Stores() {
		t.Run(kind, func(t *testing.T) { documenttest.Contract(t, open(t, kind).Store()) })
	}
}

// TestRestart shows that a store still has its data after it was killed, and that its sidecar reconnects by itself.
func TestRestart(t *testing.T) {
	for _, kind := range infra.Stores() {
		t.Run(kind, func(t *testing.T) {
			s := open(t, kind)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			const documents = 50
			for i := range documents {
				if err := s.Store().Put(ctx, fmt.Sprintf("kept/%d", i), fmt.Appendf(nil, `{"i":%d}`, i), ""); err != nil {
					t.Fatal(err)
				}
			}
			s.kill(ctx, t)
			for i := range documents {
				key := fmt.Sprintf("kept/%d", i)
				eventually(ctx, t, func() error {
					records, err := s.Store().Get(ctx, key)
					if err != nil {
						return err
					}
					if got, want := string(records[key].Value), fmt.Sprintf(`{"i":%d}`, i); got != want {
						return fmt.Errorf("%s holds %q, want %q", key, got, want)
					}
					return nil
				})
			}
			eventually(ctx, t, func() error {
				return s.Store().Put(ctx, "after/"+strconv.FormatInt(time.Now().UnixNano(), 10), []byte(`{}`), "")
			})
		})
	}
}

// stack is a store and one sidecar before it.
type stack struct {
	*sidecar.Client
	server    infra.Server
	ready     func(context.Context) error
	address   string // of the sidecar's state API
	token     string // that the sidecar requires
	processes []part
}

// kill kills the store, or the sidecar if the store runs in it, and waits until it is ready again.
func (s *stack) kill(ctx context.Context, t *testing.T) {
	t.Helper()
	victim := s.processes[0]
	lives := victim.Status().Restarts
	if err := victim.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, func() error {
		if status := victim.Status(); status.Restarts == lives || status.State != process.Ready {
			return fmt.Errorf("%s is %s in its life %d", victim.Name(), status.State, status.Restarts)
		}
		return s.ready(ctx)
	})
}

// open starts a store of that kind with a sidecar, both for this test only.
func open(t *testing.T, kind string) *stack {
	t.Helper()
	if inCompose {
		return openCompose(t, kind)
	}
	daprd := sidecarProgram(t)
	dir, ports := t.TempDir(), process.NewPorts()
	t.Cleanup(ports.Release)
	server, err := infra.Store(kind, infra.Place{Dir: dir, Port: ports.Take, Getenv: os.Getenv})
	if errors.Is(err, infra.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if server.Prepare != nil {
		if err := server.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
	}
	supervisor := process.NewSupervisor(dir, nil, nil)
	t.Cleanup(supervisor.Close)
	s := &stack{server: server, token: token}
	for _, spec := range server.Processes {
		s.start(ctx, t, supervisor, spec)
	}
	httpPort, grpcPort := take(t, ports), take(t, ports)
	s.Client, err = sidecar.New(sidecar.Options{
		AppID: app, HTTPPort: httpPort, GRPCPort: grpcPort, Token: token, Log: slog.New(slog.DiscardHandler), Clock: clock.System{},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Client.Close() })
	s.ready = s.Outbound
	s.address = fmt.Sprintf("http://127.0.0.1:%d/v1.0/state/store", httpPort)
	s.start(ctx, t, supervisor, process.Spec{
		Name: app + "-daprd", Path: daprd, Dir: dir, Ready: s.ready,
		Env: []string{"DAPR_API_TOKEN=" + token, "DAPR_HOST_IP=127.0.0.1", "PATH=" + os.Getenv("PATH"), "HOME=" + dir},
		Args: []string{
			"--app-id", app, "--mode", "standalone", "--dapr-listen-addresses", "127.0.0.1",
			"--dapr-http-port", strconv.Itoa(httpPort), "--dapr-grpc-port", strconv.Itoa(grpcPort),
			"--dapr-internal-grpc-port", strconv.Itoa(take(t, ports)), "--metrics-port", strconv.Itoa(take(t, ports)),
			"--resources-path", resources(t, dir, server), "--placement-host-address", "", "--scheduler-host-address", "",
		},
	})
	return s
}

// token is the token that the sidecar expects from its app in tests.
const token = "a token of the contract tests"

// start runs one process until the test ends.
func (s *stack) start(ctx context.Context, t *testing.T, supervisor *process.Supervisor, spec process.Spec) {
	t.Helper()
	p, err := supervisor.Add(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	p.Start()
	if err := p.WaitReady(ctx, 2); err != nil {
		t.Fatal(err)
	}
	s.processes = append(s.processes, p)
}

// resources writes the component set as the launcher does: the files of the repository, with the settings that depend
// on the server's address.
func resources(t *testing.T, dir string, server infra.Server) string {
	t.Helper()
	documents, err := manifest.ReadSet(filepath.Join(root, "components", server.Set), app)
	if err != nil {
		t.Fatal(err)
	}
	var own []manifest.Document
	for _, d := range documents {
		if d.Component == nil || !d.For(app) {
			continue
		}
		for name, value := range server.Settings(app) {
			d.Component.Set(name, value)
		}
		own = append(own, d)
	}
	if len(own) != 1 {
		t.Fatalf("the set %s has %d components for %s; want one", server.Set, len(own), app)
	}
	folder := filepath.Join(dir, "resources")
	if err := manifest.Write(folder, own); err != nil {
		t.Fatal(err)
	}
	return folder
}

func take(t *testing.T, ports *process.Ports) int {
	t.Helper()
	port, err := ports.Take()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// eventually waits until a condition is true, or until ctx ends.
func eventually(ctx context.Context, t *testing.T, condition func() error) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("it did not come to be in time: %v", err)
		}
	}
}
