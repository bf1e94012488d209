package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/components-contrib/pubsub"
	"github.com/dapr/components-contrib/pubsub/rabbitmq"
	"github.com/dapr/kit/logger"
	amqp "github.com/rabbitmq/amqp091-go"
	"sigs.k8s.io/yaml"
)

// TestTransientQueues tests the subscriptions of the component live at a real RabbitMQ, with the settings of the repository.
func TestTransientQueues(t *testing.T) {
	url := rabbitMQ(t)
	t.Run("every replica gets every event", func(t *testing.T) { everyReplica(t, url) })
	t.Run("a lost connection is made again", func(t *testing.T) { connectionLost(t, url) })
	t.Run("a slow reader has a bound", func(t *testing.T) { slowReader(t, url) })
	t.Run("a stock component reads too", func(t *testing.T) { stockComponent(t, url) })
}

// TestTransientGroups tests the same at the embedded broker, which speaks Kafka's protocol.
func TestTransientGroups(t *testing.T) {
	const topic = "orders"
	address := embeddedBroker(t, topic)
	settings := func(name string) map[string]string { return settingsOf(t, "kafka/"+name, "brokers", address) }
	publisher := component(t, newKafka, settings("pubsub.yaml"))
	publish(t, publisher, topic, "too early")
	replicas := []pubsub.PubSub{component(t, newKafka, settings("live.yaml")), component(t, newKafka, settings("live.yaml"))}
	var readers [2]reader
	var ends [2]context.CancelFunc
	for i := range readers {
		ends[i] = readers[i].subscribe(t, replicas[i], topic)
		defer func() { ends[i]() }()
		readers[i].reached(t, publisher, topic, "started")
	}
	var events []string
	for i := range 50 {
		events = append(events, strconv.Itoa(i))
	}
	publish(t, publisher, topic, events...)
	for i := range readers {
		eventually(t, "every event at every replica", func() bool { return slices.Contains(readers[i].all(), "49") })
		if got := slices.DeleteFunc(readers[i].all(), func(e string) bool { return e == "started" }); slices.Contains(got, "too early") || len(got) < len(events) {
			t.Errorf("replica %d got %d of %d events: %.200q", i, len(got), len(events), got)
		}
	}

	ends[0]()
	readers[1].reached(t, publisher, topic, "away")
	var again reader
	ends[0] = again.subscribe(t, replicas[0], topic)
	again.reached(t, publisher, topic, "back")
	if slices.Contains(again.all(), "away") {
		t.Error("a second subscription began with the events since the end of the first")
	}
}

// reached publishes an event until a reader has it. A broker may confirm a subscription before it delivers.
func (r *reader) reached(t *testing.T, publisher pubsub.PubSub, topic, e string) {
	t.Helper()
	eventually(t, "the event "+e, func() bool {
		publish(t, publisher, topic, e)
		return slices.Contains(r.all(), e)
	})
}

// fromFile returns the settings of a component file of RabbitMQ, with another address.
func fromFile(t *testing.T, name, url string) map[string]string {
	t.Helper()
	return settingsOf(t, "rabbitmq/"+name, "connectionString", url)
}

// settingsOf returns the settings of a component file, with another address.
func settingsOf(t *testing.T, name, key, address string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("../../components/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Spec struct {
			Metadata []struct{ Name, Value string }
		}
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{"consumerID": "publisher"}
	for _, item := range file.Spec.Metadata {
		settings[item.Name] = item.Value
	}
	settings[key] = address
	return settings
}

// component makes a component that is closed with the test.
func component(t *testing.T, constructor func(logger.Logger) pubsub.PubSub, settings map[string]string) pubsub.PubSub {
	t.Helper()
	log := logger.NewLogger("transient")
	log.SetOutputLevel(logger.FatalLevel)
	made := constructor(log)
	if err := made.Init(t.Context(), pubsub.Metadata{Base: metadata.Base{Name: "component", Properties: settings}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = made.Close() })
	return made
}

// stockConsumer names the queues of the stock component.
const stockConsumer = "stock"

// topicFor returns a topic for one test. The broker forgets it after the test.
func topicFor(t *testing.T, url, name string) string {
	t.Helper()
	topic := name + "-" + strconv.Itoa(os.Getpid())
	connection, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	channel, err := connection.Channel()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer connection.Close()
		_, err := channel.QueueDelete(stockConsumer+"-"+topic, false, false, false)
		if err := errors.Join(err, channel.ExchangeDelete(topic, false, false)); err != nil {
			t.Error(err)
		}
	})
	return topic
}

// reader keeps what a subscription delivers.
type reader struct {
	mu   sync.Mutex
	got  []string
	held chan struct{} // unless nil, messages wait until it is closed
}

func (r *reader) take(_ context.Context, message *pubsub.NewMessage) error {
	if r.held != nil {
		<-r.held
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, string(message.Data))
	return nil
}

func (r *reader) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// subscribe subscribes to a topic until the returned function is called.
func (r *reader) subscribe(t *testing.T, from pubsub.PubSub, topic string) context.CancelFunc {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	if err := from.Subscribe(ctx, pubsub.SubscribeRequest{Topic: topic}, r.take); err != nil {
		t.Fatal(err)
	}
	return cancel
}

// publish publishes events, as the services do.
func publish(t *testing.T, to pubsub.PubSub, topic string, events ...string) {
	t.Helper()
	for _, e := range events {
		if err := to.Publish(t.Context(), &pubsub.PublishRequest{Topic: topic, Data: []byte(e)}); err != nil {
			t.Fatal(err)
		}
	}
}

// routed reports whether a message to the exchange of a topic has a queue.
func routed(t *testing.T, url, topic string) bool {
	t.Helper()
	connection, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err == nil {
		err = channel.Confirm(false)
	}
	if err != nil {
		t.Fatal(err)
	}
	returned := channel.NotifyReturn(make(chan amqp.Return, 1))
	confirmation, err := channel.PublishWithDeferredConfirm(topic, "", true, false, amqp.Publishing{Body: []byte("asked")})
	if err != nil {
		t.Fatal(err)
	}
	if !confirmation.Wait() {
		t.Fatal("the broker refused a message")
	}
	select {
	case <-returned: // the broker returns a message before it confirms it
		return false
	default:
		return true
	}
}

func everyReplica(t *testing.T, url string) {
	topic := topicFor(t, url, "replicas")
	publisher := component(t, newRabbitMQ, fromFile(t, "pubsub.yaml", url))
	publish(t, publisher, topic, "too early")
	if routed(t, url, topic) {
		t.Fatal("there is a queue before the first subscription")
	}
	var one, two reader
	endOne := one.subscribe(t, component(t, newRabbitMQ, fromFile(t, "live.yaml", url)), topic)
	defer endOne()
	endTwo := two.subscribe(t, component(t, newRabbitMQ, fromFile(t, "live.yaml", url)), topic)
	defer endTwo()

	var events []string
	for i := range 3 * transientAhead {
		events = append(events, strconv.Itoa(i))
	}
	publish(t, publisher, topic, events...)
	for _, r := range []*reader{&one, &two} {
		eventually(t, "every event at every replica", func() bool { return len(r.all()) >= len(events) })
		if got := r.all(); !slices.Equal(got, events) {
			t.Errorf("a replica got %d events, not the %d in their order: %.200q", len(got), len(events), got)
		}
	}

	endOne()
	eventually(t, "the end of the first subscription", func() bool {
		publish(t, publisher, topic, "later")
		before := len(one.all())
		return slices.Contains(two.all(), "later") && len(one.all()) == before
	})
	if !routed(t, url, topic) {
		t.Error("the end of one subscription took the queue of the other")
	}
	endTwo()
	eventually(t, "no queue after the last subscription", func() bool { return !routed(t, url, topic) })
}

// between forwards connections to a server, and can cut them.
type between struct {
	listener net.Listener
	mu       sync.Mutex
	open     []net.Conn
}

func newBetween(t *testing.T, server string) *between {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &between{listener: listener}
	t.Cleanup(func() { _ = listener.Close(); b.cut() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			b.mu.Lock()
			b.open = append(b.open, client, upstream)
			b.mu.Unlock()
			go func() { _, _ = io.Copy(upstream, client) }()
			go func() { _, _ = io.Copy(client, upstream) }()
		}
	}()
	return b
}

func (b *between) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, connection := range b.open {
		_ = connection.Close()
	}
	b.open = nil
}

func connectionLost(t *testing.T, url string) {
	topic := topicFor(t, url, "lost")
	uri, err := amqp.ParseURI(url)
	if err != nil {
		t.Fatal(err)
	}
	server := net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))
	way := newBetween(t, server)
	publisher := component(t, newRabbitMQ, fromFile(t, "pubsub.yaml", url))
	publish(t, publisher, topic, "too early")
	var r reader
	end := r.subscribe(t, component(t, newRabbitMQ, fromFile(t, "live.yaml", strings.Replace(url, server, way.listener.Addr().String(), 1))), topic)
	defer end()
	publish(t, publisher, topic, "before")
	eventually(t, "an event", func() bool { return slices.Contains(r.all(), "before") })

	way.cut()
	eventually(t, "no queue without its connection", func() bool { return !routed(t, url, topic) })
	publish(t, publisher, topic, "between")
	eventually(t, "events after the connection", func() bool {
		publish(t, publisher, topic, "after")
		return slices.Contains(r.all(), "after")
	})
	if slices.Contains(r.all(), "between") {
		t.Error("an event outlived its connection: the queue is not a transient one")
	}
}

func slowReader(t *testing.T, url string) {
	const bound, events = 100, 4 * transientAhead
	topic := topicFor(t, url, "slow")
	publisher := component(t, newRabbitMQ, fromFile(t, "pubsub.yaml", url))
	settings := fromFile(t, "live.yaml", url)
	settings["maxLen"] = strconv.Itoa(bound)
	r := reader{held: make(chan struct{})}
	end := r.subscribe(t, component(t, newRabbitMQ, settings), topic)
	defer end()
	for i := range events {
		publish(t, publisher, topic, strconv.Itoa(i)) // returns when the broker has it
	}
	close(r.held)
	last := strconv.Itoa(events - 1)
	eventually(t, "the newest event", func() bool { return slices.Contains(r.all(), last) })
	if got := len(r.all()); got > transientAhead+bound {
		t.Errorf("%d events waited for a slow reader, more than %d", got, transientAhead+bound)
	}
}

func stockComponent(t *testing.T, url string) {
	topic := topicFor(t, url, "stock")
	publisher := component(t, newRabbitMQ, fromFile(t, "pubsub.yaml", url))
	publish(t, publisher, topic, "too early")
	settings := fromFile(t, "live.yaml", url)
	settings["consumerID"] = stockConsumer // the sidecar puts a random one there
	var r reader
	end := r.subscribe(t, component(t, rabbitmq.NewRabbitMQ, settings), topic)
	defer end()
	publish(t, publisher, topic, "heard")
	eventually(t, "an event", func() bool { return slices.Equal(r.all(), []string{"heard"}) })
}
