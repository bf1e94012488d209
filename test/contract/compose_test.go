package contract

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/process"
	"caravan/internal/clock"
	"caravan/internal/sidecar"
	"caravan/test/containers"
	"caravan/test/stacktest"
)

// inCompose means that the suites run on the sidecars, servers and component files of docker compose.
var inCompose = os.Getenv("CARAVAN_E2E_TARGET") == "compose"

// composeFiles are the files of compose/ for a broker or a store; without them it is not tested there. The file of the
// other kind is the cheapest.
var composeFiles = map[string][]string{
	"rabbitmq": {"sqlite.yaml"}, "kafka": {"kafka-embedded.yaml", "sqlite.yaml"},
	"sqlite": {"kafka-embedded.yaml", "sqlite.yaml"}, "postgres": {"kafka-embedded.yaml"}, "redis": {"kafka-embedded.yaml", "redis.yaml"},
}

// part is one process of a test: a process of the test itself, or a container.
type part interface {
	Name() string
	Status() process.Status
	Signal(signal syscall.Signal) error
	Start()
	Stop(ctx context.Context)
	WaitReady(ctx context.Context, lives int) error
}

// used returns the processor time of a part.
func used(p part) time.Duration {
	if c, ok := p.(*container); ok {
		return c.used()
	}
	return process.TreeWork(p.Status().PID).CPU
}

// container is a part that Docker runs.
type container struct {
	project *containers.Project
	name    string
	failed  error // of Start and Stop, to be returned by WaitReady
}

func (c *container) Name() string { return c.name }

func (c *container) Status() process.Status {
	status, err := c.project.Process(context.Background(), c.name)
	if err != nil {
		c.failed = err
	}
	return status
}

func (c *container) Signal(signal syscall.Signal) error {
	return c.project.Kill(context.Background(), c.name, signal)
}

func (c *container) Start() { c.failed = c.project.Launch(context.Background(), c.name) }

func (c *container) Stop(ctx context.Context) { c.failed = c.project.Stop(ctx, c.name) }

func (c *container) WaitReady(ctx context.Context, _ int) error {
	if c.failed != nil {
		return c.failed
	}
	return c.project.WaitServing(ctx, c.name)
}

func (c *container) used() (sum time.Duration) {
	all, err := c.project.Containers(context.Background())
	if err != nil {
		c.failed = err
	}
	for _, k := range all {
		if k.Name() == c.name {
			sum += k.CPU()
		}
	}
	return sum
}

// compose starts sidecars of docker compose with their dependencies. The test is the program of each of them: they find
// it at the program's name and port.
func compose(t *testing.T, kind string, handler http.Handler, apps map[string]int) *containers.Project {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	files, known := composeFiles[kind]
	if !known {
		t.Skipf("%s is not run with the target compose: compose/ has no file for %s", t.Name(), kind)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	options := containers.Options{Root: root, Files: files}
	var sidecars []string
	for app := range apps {
		options.Reaching = append(options.Reaching, app)
		sidecars = append(sidecars, app+"-daprd")
	}
	options.Services = func(p *containers.Project) map[string]any {
		changed := map[string]any{}
		for app := range apps {
			changed[app+"-daprd"] = map[string]any{"extra_hosts": []string{app + ":" + p.Host(app)}}
		}
		return changed
	}
	p, err := containers.New(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Remove)
	for app, port := range apps {
		listener, err := net.Listen("tcp", net.JoinHostPort(p.Host(app), fmt.Sprint(port)))
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: handler, Protocols: stacktest.Protocols(), ReadHeaderTimeout: 5 * time.Second}
		t.Cleanup(func() { _ = server.Close() })
		go func() { _ = server.Serve(listener) }()
	}
	if err := errors.Join(p.Up(ctx, sidecars...), p.WaitServing(ctx)); err != nil {
		t.Fatal(err)
	}
	return p
}

// The ports of programs and sidecars in compose/.
const (
	ordersPort, ordersHTTPPort, ordersGRPCPort = 7003, 3503, 3603
	notificationsPort                          = 7005
)

// relay returns a port of this machine that forwards to one of a container, also after restarts.
func relay(t *testing.T, p *containers.Project, name string, port int) int {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	relayed, err := p.Relay(ctx, name, port)
	if err != nil {
		t.Fatal(err)
	}
	return relayed
}

// connectCompose does in compose what connect does.
func connectCompose(t *testing.T, kind string) *broker {
	t.Helper()
	app := &fakeConsumer{}
	t.Cleanup(func() { app.set(nil, nil) })
	p := compose(t, kind, app, map[string]int{publisherApp: ordersPort, consumerApp: notificationsPort})
	return &broker{
		kind: kind, app: app, token: p.Secrets()["ORDERS_API_TOKEN"],
		address: fmt.Sprintf("http://127.0.0.1:%d/v1.0/publish/pubsub/", relay(t, p, publisherApp+"-daprd", ordersHTTPPort)),
		server:  &container{project: p, name: "broker"}, publisher: &container{project: p, name: publisherApp + "-daprd"},
		consumer: &container{project: p, name: consumerApp + "-daprd"},
	}
}

// openCompose does in compose what open does.
func openCompose(t *testing.T, kind string) *stack {
	t.Helper()
	p := compose(t, kind, http.NotFoundHandler(), map[string]int{app: ordersPort})
	name := app + "-daprd"
	s := &stack{server: infra.Server{Kind: kind}, token: p.Secrets()["ORDERS_API_TOKEN"]}
	httpPort, grpcPort := relay(t, p, name, ordersHTTPPort), relay(t, p, name, ordersGRPCPort)
	var err error
	s.Client, err = sidecar.New(sidecar.Options{
		AppID: app, HTTPPort: httpPort, GRPCPort: grpcPort, Token: s.token, Log: slog.New(slog.DiscardHandler), Clock: clock.System{},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Client.Close() })
	s.ready = s.Outbound
	s.address = fmt.Sprintf("http://127.0.0.1:%d/v1.0/state/store", httpPort)
	if kind != "sqlite" { // a file belongs to its sidecar
		s.processes = append(s.processes, &container{project: p, name: "store"})
	}
	s.processes = append(s.processes, &container{project: p, name: name})
	return s
}

// TestDurabilityInCompose tests the servers of compose as TestDurability tests those of the launcher.
func TestDurabilityInCompose(t *testing.T) {
	if !inCompose {
		t.Skip("only with the target compose")
	}
	for kind, test := range map[string]struct {
		ask  []string
		want map[string]string
	}{
		"postgres": {[]string{"psql", "-U", "caravan", "-d", "caravan", "-Atc", "SHOW %"}, durable.postgres},
		"redis":    {[]string{"redis-cli", "CONFIG", "GET", "%"}, durable.redis},
	} {
		t.Run(kind, func(t *testing.T) {
			p := compose(t, kind, http.NotFoundHandler(), map[string]int{app: ordersPort})
			for setting, want := range test.want {
				args := []string{"exec", "-T", "store"}
				for _, word := range test.ask {
					args = append(args, strings.ReplaceAll(word, "%", setting))
				}
				said, err := p.Compose(t.Context(), args...)
				lines := strings.Fields(said)
				if err != nil || len(lines) == 0 || lines[len(lines)-1] != want {
					t.Errorf("%s is %q, want %q; %v", setting, said, want, err)
				}
			}
		})
	}
}
