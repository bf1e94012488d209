package repair

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/process"
	"caravan/internal/event"
	"caravan/test/stacktest"
)

// settings are the settings of the run in the environment.
var settings = struct{ daprd, rounds, long string }{stacktest.Take("CARAVAN_DAPRD"), stacktest.Take("CARAVAN_REPAIR_ROUNDS"), stacktest.Take("CARAVAN_REPAIR_LONG")}

const (
	consumer = "notifications"
	producer = "orders"
	// bound is the longest time until push works again after a fault is over. On an idle machine it takes some seconds,
	// or two heartbeat bounds and the start of a sidecar.
	bound = 90 * time.Second
)

// topics are the topics of the consumer.
var topics = []string{"users", "orders", "payments", "products"}

// stack is a consumer with a producer's sidecar for publishing, and without a feed.
type stack struct {
	*launcher.Stack
	t         *testing.T
	published atomic.Int64
	client    *http.Client
}

func start(t *testing.T, options launcher.Options) *stack {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	options.Root, options.Dir, options.Daprd, options.FreePorts = filepath.Join(here, "..", ".."), t.TempDir(), settings.daprd, true
	options.Broker, options.Store, options.Only = cmp.Or(options.Broker, "rabbitmq"), "sqlite", []string{consumer, producer}
	env := map[string]string{
		"CARAVAN_FEED_PULL_INTERVAL": "24h",
		"CARAVAN_HEARTBEAT_EVERY":    "1s", "CARAVAN_HEARTBEAT_BOUND": "6s",
		"CARAVAN_HEARTBEAT_FIRST_INTERVAL": "10s", "CARAVAN_HEARTBEAT_MAX_INTERVAL": "30s",
	}
	maps.Copy(env, options.Env[consumer])
	options.Env = map[string]map[string]string{consumer: env}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // the first time, daprd is built
	defer cancel()
	running, err := launcher.Start(ctx, options)
	if errors.Is(err, infra.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		running.Stop(ctx)
	})
	s := &stack{Stack: running, t: t, client: &http.Client{Timeout: 15 * time.Second}}
	if err := s.AwaitProcess(ctx, consumer); err != nil {
		t.Fatal(err)
	}
	return s
}

// publish publishes an event that every handler ignores, through the producer's sidecar, and returns its id.
func (s *stack) publish(topic string) (string, error) {
	subject := "probe-" + strconv.FormatInt(s.published.Add(1), 10)
	e := event.Event{ID: event.ID(topic, subject, 1), Type: topic + ".probe.v1", Source: topic, Subject: subject, Sequence: 1, Time: time.Now()}
	raw, err := e.CloudEvent()
	if err != nil {
		s.t.Fatal(err)
	}
	address := s.status(producer+"-daprd").URL + "/v1.0/publish/pubsub/" + topic
	request, err := http.NewRequest(http.MethodPost, address, bytes.NewReader(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("dapr-api-token", s.APIToken())
	request.Header.Set("Content-Type", event.ContentType)
	response, err := s.client.Do(request)
	if err != nil {
		return e.ID, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return e.ID, errors.New(response.Status)
	}
	return e.ID, nil
}

// load publishes to every topic until the test ends or stop is called.
func (s *stack) load() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var running sync.WaitGroup
	for _, topic := range topics {
		running.Go(func() {
			for ctx.Err() == nil {
				_, _ = s.publish(topic) // some are lost on purpose; only later ones matter
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	return func() { cancel(); running.Wait() }
}

// pushed waits until an event of each topic, published from now on, has come to the consumer. It returns the time of
// the slowest.
func (s *stack) pushed() time.Duration {
	s.t.Helper()
	began := time.Now()
	waiting := make(map[string][]string, len(topics)) // what was published, by topic
	for _, topic := range topics {
		waiting[topic] = nil
	}
	for len(waiting) > 0 {
		if time.Since(began) > bound {
			s.t.Fatalf("nothing of %v was pushed within %s\n%s", waiting, bound, s.tail())
		}
		for topic := range waiting {
			if id, err := s.publish(topic); err == nil {
				waiting[topic] = append(waiting[topic], id)
			}
		}
		time.Sleep(200 * time.Millisecond)
		log := s.log(consumer)
		for topic, ids := range waiting {
			for _, id := range ids {
				if strings.Contains(log, `"event":"`+id+`"`) {
					delete(waiting, topic)
				}
			}
		}
	}
	return time.Since(began)
}

func (s *stack) log(name string) string {
	s.t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.Dir(), "logs", name+".log"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(raw)
}

// tail returns the ends of the logs for a failure.
func (s *stack) tail() string {
	var all strings.Builder
	for _, name := range []string{consumer, consumer + "-daprd", "broker"} {
		lines := strings.Split(s.log(name), "\n")
		fmt.Fprintf(&all, "== %s\n%s\n", name, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
	return all.String()
}

func (s *stack) status(name string) process.Status {
	s.t.Helper()
	status, err := s.Process(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

// evaluate makes the broker's node evaluate Erlang code.
func (s *stack) evaluate(erlang string) string {
	s.t.Helper()
	pid := s.status("broker").PID
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		s.t.Fatal(err)
	}
	command := exec.CommandContext(s.t.Context(), "/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", "eval", erlang)
	for variable := range strings.SplitSeq(string(environment), "\x00") {
		for _, wanted := range []string{"HOME=", "PATH=", "LANG=", "ERL_EPMD_PORT=", "RABBITMQ_NODENAME="} {
			if strings.HasPrefix(variable, wanted) {
				command.Env = append(command.Env, variable)
			}
		}
	}
	output, err := command.CombinedOutput()
	if err != nil {
		s.t.Fatalf("evaluating %s: %v: %s", erlang, err, output)
	}
	return string(output)
}
