package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/process"
	"caravan/internal/clock"
	"caravan/internal/event"
	"caravan/internal/sidecar"
)

// TestLive tests the component live of each broker that has one, with the repository's files: every replica that listens gets every
// event that is published from then on, and a replica that stopped can listen again.
func TestLive(t *testing.T) {
	if inCompose {
		t.Skip("needs two sidecars whose APIs are open")
	}
	for _, kind := range []string{"rabbitmq", "kafka"} {
		t.Run(kind, func(t *testing.T) {
			l := connectLive(t, kind)
			l.publish(t, "too-early")
			var one, two listener
			end := one.listen(t, l.replicas[0])
			two.listen(t, l.replicas[1])

			// A broker may confirm a subscription before it delivers, and events may be lost until then.
			l.reaches(t, "first", &one, &two)
			ids := make([]string, 200)
			for i := range ids {
				ids[i] = fmt.Sprintf("event-%d", i)
				l.publish(t, ids[i])
			}
			one.has(t, ids...)
			two.has(t, ids...)

			end()
			l.reaches(t, "away", &two)
			one.listen(t, l.replicas[0])
			l.reaches(t, "second", &one, &two)
			for name, heard := range map[string][]string{"one": one.all(), "two": two.all()} {
				if slices.Contains(heard, "too-early") {
					t.Errorf("replica %s got an event from before it listened", name)
				}
			}
			if slices.ContainsFunc(one.all(), of("away")) {
				t.Error("a replica that listens again got events from the time between")
			}
		})
	}
}

// live is a broker with a publisher and two replicas of one app.
type live struct {
	address  string
	replicas []*sidecar.Client
	rounds   int
}

func connectLive(t *testing.T, kind string) *live {
	t.Helper()
	daprd := sidecarProgram(t)
	dir, ports := t.TempDir(), process.NewPorts()
	t.Cleanup(ports.Release)
	server, err := infra.Broker(kind, infra.Place{
		Dir: dir, Port: ports.Take, Getenv: os.Getenv, Topics: []string{"users", "orders", "payments", "products", "notifications.dead"},
		Program: func(name string) string { return build(t, dir, "./dapr/launcher/"+name) },
	})
	if errors.Is(err, infra.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if server.Prepare != nil {
		if err := server.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
	}
	supervisor := process.NewSupervisor(dir, nil, nil)
	t.Cleanup(supervisor.Close)
	s := &stack{}
	for _, spec := range server.Processes {
		s.start(ctx, t, supervisor, spec)
	}
	l := &live{}
	for i, app := range []string{publisherApp, consumerApp, consumerApp} {
		httpPort, grpcPort := take(t, ports), take(t, ports)
		s.start(ctx, t, supervisor, process.Spec{
			Name: fmt.Sprintf("%s-%d-daprd", app, i), Path: daprd, Dir: dir, Ready: healthy(httpPort),
			Args: []string{
				"--app-id", app, "--mode", "standalone", "--dapr-listen-addresses", "127.0.0.1",
				"--dapr-http-port", strconv.Itoa(httpPort), "--dapr-grpc-port", strconv.Itoa(grpcPort),
				"--dapr-internal-grpc-port", strconv.Itoa(take(t, ports)), "--metrics-port", strconv.Itoa(take(t, ports)),
				"--resources-path", brokerResources(t, dir, app, server), "--placement-host-address", "", "--scheduler-host-address", "",
			},
			Env: []string{"DAPR_HOST_IP=127.0.0.1", "PATH=" + os.Getenv("PATH"), "HOME=" + dir},
		})
		if app == publisherApp {
			l.address = fmt.Sprintf("http://127.0.0.1:%d/v1.0/publish/pubsub/", httpPort)
			continue
		}
		client, err := sidecar.New(sidecar.Options{
			AppID: app, HTTPPort: httpPort, GRPCPort: grpcPort, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Clock: clock.System{},
		})
		if err != nil {
			t.Fatal(err)
		}
		l.replicas = append(l.replicas, client)
	}
	return l
}

// publish publishes an event, as TestBrokers does.
func (l *live) publish(t *testing.T, subject string) {
	t.Helper()
	b := &broker{address: l.address}
	b.post(t, "orders?metadata.partitionKey="+subject, "application/cloudevents+json", fmt.Sprintf(
		`{"specversion":"1.0","id":%q,"source":"orders","type":"orders.placed.v1","time":"2026-01-02T03:04:05Z","subject":%q,"sequence":1,"datacontenttype":"application/json","data":{}}`,
		event.ID("orders", subject, 1), subject))
}

// reaches publishes events until each listener has got one of them.
func (l *live) reaches(t *testing.T, name string, listeners ...*listener) {
	t.Helper()
	for _, r := range listeners {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		eventually(ctx, t, func() error {
			l.rounds++
			l.publish(t, fmt.Sprintf("%s-%d", name, l.rounds))
			if !slices.ContainsFunc(r.all(), of(name)) {
				return errors.New("no event arrived")
			}
			return nil
		})
	}
}

// of finds the events of a name.
func of(name string) func(string) bool {
	return func(id string) bool { return strings.HasPrefix(id, name+"-") }
}

// listener keeps the events that a replica hears of.
type listener struct {
	mu  sync.Mutex
	got []string
}

// listen listens until the returned function is called, or the test ends.
func (r *listener) listen(t *testing.T, client *sidecar.Client) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- client.Listen(ctx, "orders", func() { close(ready) }, func(e event.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.got = append(r.got, e.Subject)
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(time.Minute):
		t.Fatal("the sidecar does not confirm the subscription")
	}
	end = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(end)
	return end
}

func (r *listener) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// has waits until all events have arrived.
func (r *listener) has(t *testing.T, ids ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	eventually(ctx, t, func() error {
		got := r.all()
		missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(got, id) })
		if len(missing) > 0 {
			return fmt.Errorf("%d of %d events are missing, as %s", len(missing), len(ids), missing[0])
		}
		return nil
	})
}
