package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Deliveries are repeated as dapr/resources/resiliency.yaml declares.
const (
	deliveryRetries = 6
	deliveryTimeout = 60 * time.Second
)

// subscription is one of dapr/resources/subscriptions.yaml.
type subscription struct {
	app, topic, route, deadLetters string
	waiting                        []*message // no sidecar is there to take them
}

type message struct {
	id       string
	body     []byte
	attempts int
}

// broker holds the messages of all subscriptions. It loses no message that it has stored, but a publish may fail before
// that.
type broker struct {
	world         *World
	subscriptions []*subscription
	down          bool
	hung          bool            // it accepts everything and answers nothing
	published     map[string]bool // ids that were stored
}

func newBroker(w *World) *broker { return &broker{world: w, published: make(map[string]bool)} }

// read reads the subscriptions from the repository's own file.
func (b *broker) read(root string) error {
	raw, err := os.ReadFile(filepath.Join(root, "dapr", "resources", "subscriptions.yaml"))
	if err != nil {
		return fmt.Errorf("reading the subscriptions: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	for {
		var d struct {
			Spec struct {
				Topic           string
				Routes          struct{ Default string }
				DeadLetterTopic string `yaml:"deadLetterTopic"`
			}
			Scopes []string
		}
		if decoder.Decode(&d) != nil {
			break
		}
		for _, app := range d.Scopes {
			b.subscriptions = append(b.subscriptions, &subscription{app: app, topic: d.Spec.Topic, route: d.Spec.Routes.Default, deadLetters: d.Spec.DeadLetterTopic})
		}
	}
	if len(b.subscriptions) == 0 {
		return fmt.Errorf("there are no subscriptions in %s", root)
	}
	return nil
}

// consumer reports whether an app has a subscription.
func (b *broker) consumer(app string) bool {
	return slices.ContainsFunc(b.subscriptions, func(s *subscription) bool { return s.app == app })
}

// metadata is a sidecar's report of its subscriptions.
func (b *broker) metadata(r *replica) []byte {
	type entry struct {
		Topic string `json:"topic"`
	}
	list := []entry{}
	for _, s := range b.subscriptions {
		if s.app == r.app && (!r.sidecar.deaf || r.sidecar.hidden) {
			list = append(list, entry{s.topic})
		}
	}
	out, _ := json.Marshal(map[string]any{"subscriptions": list}) // only strings
	return out
}

// PublishEvents publishes events one by one; some of them may fail.
func (s sdk) PublishEvents(ctx context.Context, _, topic string, events []any, _ ...dapr.PublishEventsOption) dapr.PublishEventsResponse {
	w, from := s.life.world, s.life.replica
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.(dapr.PublishEventsEvent).EntryID
	}
	err := w.ask(ctx, s.life, "publish "+topic+" "+strings.Join(ids, " "), func(c *call) {
		w.through(c, from, func(reply func(error)) {
			if w.broker.hung {
				return
			}
			var failed error
			for _, e := range events {
				entry := e.(dapr.PublishEventsEvent)
				if err := w.broker.publish(topic, entry.EntryID, entry.Data); err != nil {
					failed = err
				}
			}
			reply(failed)
		})
	})
	return dapr.PublishEventsResponse{Error: err}
}

// publish stores a message for every subscription to its topic, or only reports that it did.
func (b *broker) publish(topic, id string, body []byte) error {
	w := b.world
	refused := status.Error(codes.Internal, "error when publish to topic in pubsub pubsub: connection closed")
	switch {
	case b.down, w.chance("publish lost", w.faults.PublishLost):
		return nil // a success, but lost (F1)
	case w.chance("publish fails", w.faults.PublishFails):
		if w.rng.IntN(2) == 0 {
			return refused
		}
		b.store(topic, id, body)
		return refused
	}
	b.store(topic, id, body)
	return nil
}

func (b *broker) store(topic, id string, body []byte) {
	b.published[id] = true
	for _, s := range b.subscriptions {
		if s.topic != topic {
			continue
		}
		b.schedule(s, &message{id: id, body: body}, b.world.latency())
		if b.world.chance("redelivered", b.world.faults.Redelivered) {
			b.schedule(s, &message{id: id, body: body}, b.world.between(0, time.Minute))
		}
	}
}

func (b *broker) schedule(s *subscription, m *message, pause time.Duration) {
	if b.world.chance("delayed", b.world.faults.Delayed) {
		pause += b.world.between(0, time.Minute)
	}
	b.world.after(pause, "push "+s.topic+" "+m.id, func() { b.push(s, m) })
}

// push delivers a message to one of the sidecars with the subscription.
func (b *broker) push(s *subscription, m *message) {
	w := b.world
	var hearing []*replica
	for _, r := range w.replicas {
		if r.app == s.app && r.sidecar.up && !r.sidecar.deaf && !b.down && !b.hung {
			hearing = append(hearing, r)
		}
	}
	if len(hearing) == 0 {
		s.waiting = append(s.waiting, m)
		return
	}
	r := hearing[w.rng.IntN(len(hearing))]
	if r.program == nil {
		b.failed(s, m)
		return
	}
	sidecar := r.sidecar.life
	ctx, cancel := context.WithTimeout(context.Background(), deliveryTimeout)
	event := request{method: http.MethodPost, header: http.Header{"Content-Type": {"application/cloudevents+json"}}, body: m.body}
	label := "event " + s.topic + " " + m.id
	w.serve(r.program, label, event.to(ctx, s.route), func(answer *httptest.ResponseRecorder) {
		cancel()
		switch {
		case r.sidecar.life != sidecar: // not acknowledged: it is delivered again
			b.schedule(s, m, w.latency())
		case answer == nil:
			b.failed(s, m)
		default:
			b.answered(s, m, answer)
		}
	})
}

// answered handles a consumer's answer as a sidecar does
// (https://docs.dapr.io/reference/api/pubsub_api/#expected-http-response).
func (b *broker) answered(s *subscription, m *message, answer *httptest.ResponseRecorder) {
	var said struct{ Status string }
	unread := json.Unmarshal(answer.Body.Bytes(), &said)
	switch {
	case answer.Code == http.StatusNotFound: // dropped without a trace (F10)
	case answer.Code >= http.StatusMultipleChoices:
		b.failed(s, m)
	case unread == nil && said.Status == "RETRY":
		b.failed(s, m)
	case unread == nil && said.Status == "DROP":
		b.bury(s, m)
	}
}

// failed repeats a delivery after a while, or gives it up.
func (b *broker) failed(s *subscription, m *message) {
	m.attempts++
	if m.attempts > deliveryRetries && s.deadLetters != "" {
		b.bury(s, m)
		return
	}
	b.schedule(s, m, min(500*time.Millisecond<<min(m.attempts, 4), 5*time.Second))
}

func (b *broker) bury(s *subscription, m *message) {
	if s.deadLetters != "" {
		b.store(s.deadLetters, m.id, m.body)
	}
}

// attach gives a sidecar that has just started the messages that waited for it.
func (b *broker) attach(r *replica) {
	for _, s := range b.subscriptions {
		if s.app == r.app && !r.sidecar.deaf {
			b.resume(s)
		}
	}
}

func (b *broker) resume(s *subscription) {
	for _, m := range s.waiting {
		b.schedule(s, m, b.world.latency())
	}
	s.waiting = nil
}

// outage makes the broker unavailable for a while.
func (b *broker) outage() {
	if b.down || b.world.calm {
		return
	}
	b.down = true
	b.world.fired["broker down"]++
	b.world.after(b.world.between(500*time.Millisecond, 30*time.Second), "the broker is back", b.back)
}

func (b *broker) back() {
	b.down = false
	for _, s := range b.subscriptions {
		b.resume(s)
	}
}
