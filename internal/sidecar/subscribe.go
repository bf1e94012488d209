package sidecar

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/dapr/go-sdk/service/common"
	daprhttp "github.com/dapr/go-sdk/service/http"
	"github.com/go-chi/chi/v5"
	"go.opentelemetry.io/otel"

	"caravan/internal/correlation"
	"caravan/internal/event"
)

// EventPath is the prefix of the routes to which dapr/resources/subscriptions.yaml delivers topics.
const EventPath = "/events/"

// Subscriber receives events from the sidecar through the SDK's service, with a check in front of it. The SDK checks no
// token on topic routes. It also answers 303 to a malformed event, which daprd would deliver again without end.
type Subscriber struct {
	options SubscriberOptions
	mux     *chi.Mux
	service common.Service
	traffic *traffic
}

// SubscriberOptions configure a Subscriber.
type SubscriberOptions struct {
	// Token is what the sidecar sends with each delivery.
	Token string
	// Log takes a line for each event.
	Log *slog.Logger
	// Now returns the present time.
	Now func() time.Time
	// Limit is how long a handler may keep a delivery. After that the sidecar is asked to deliver it again, although
	// the handler may still run. It must be longer than the deadline in the handler's context. 0 means no limit.
	Limit time.Duration
}

// NewSubscriber makes a Subscriber. Subscriptions are declared in dapr/resources/subscriptions.yaml and not in code,
// because the SDK cannot set a dead-letter topic.
func NewSubscriber(options SubscriberOptions) *Subscriber {
	mux := chi.NewRouter()
	return &Subscriber{options: options, mux: mux, service: daprhttp.NewServiceWithMux("", mux), traffic: newTraffic(options.Now)}
}

// Handle routes the deliveries of a topic to h. An event on which h panics becomes a dead letter.
func (s *Subscriber) Handle(topic string, h event.Handler) error {
	h = event.Protect(h)
	subscription := &common.Subscription{PubsubName: PubSubName, Topic: topic, Route: EventPath + topic}
	return s.service.AddTopicEventHandler(subscription, func(ctx context.Context, _ *common.TopicEvent) (bool, error) {
		e, _ := ctx.Value(eventKey{}).(event.Event)
		return s.deliver(ctx, topic, e, h)
	})
}

// deliver runs the handler in the context of the event's cause and logs the outcome. The SDK turns its result into
// SUCCESS, RETRY or DROP.
func (s *Subscriber) deliver(ctx context.Context, topic string, e event.Event, h event.Handler) (retry bool, err error) {
	ctx = correlation.Remote(ctx, e.CorrelationID, e.TraceParent)
	ctx, span := otel.Tracer("caravan/internal/sidecar").Start(ctx, "event "+e.Type)
	defer span.End()
	start := s.options.Now()
	err = s.handle(ctx, topic, e, h)
	retry = event.Retriable(err)
	attributes := []any{"topic", topic, "event", e.ID, "type", e.Type, "aggregate", e.Subject, "duration_ms", s.options.Now().Sub(start).Milliseconds()}
	log := s.options.Log
	switch {
	case err == nil:
		log.InfoContext(ctx, "event", attributes...)
	case retry:
		log.WarnContext(ctx, "event will be delivered again", append(attributes, "error", err)...)
	default:
		log.ErrorContext(ctx, "event goes to the dead letters", append(append(attributes, "error", err), event.Stack(err)...)...)
	}
	return retry, err
}

// handle runs the handler and waits for it no longer than the limit. Nothing can stop a handler that takes longer: it
// still counts as in flight, and the event is delivered again.
func (s *Subscriber) handle(ctx context.Context, topic string, e event.Event, h event.Handler) error {
	done := s.traffic.begin(topic, e.ID)
	if s.options.Limit <= 0 {
		defer done()
		return h(ctx, e)
	}
	result := make(chan error, 1)
	go func() { // ends when the handler returns
		defer done()
		result <- h(ctx, e)
	}()
	limit := time.NewTimer(s.options.Limit)
	defer limit.Stop()
	select {
	case err := <-result:
		return err
	case <-limit.C:
		return event.Retry(fmt.Errorf("the handler has kept it for longer than %s", s.options.Limit))
	}
}

type eventKey struct{}

// Handler serves the event routes. It does not pass heartbeats on.
func (s *Subscriber) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || subtle.ConstantTimeCompare([]byte(r.Header.Get(tokenHeader)), []byte(s.options.Token)) != 1 {
			http.Error(w, "deliveries need POST and the app token", http.StatusUnauthorized)
			return
		}
		topic := strings.TrimPrefix(r.URL.Path, EventPath)
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, event.MaxSize))
		var tooLarge *http.MaxBytesError
		if err != nil && !errors.As(err, &tooLarge) {
			status(w, common.SubscriptionResponseStatusRetry)
			return
		}
		s.traffic.came(topic)
		e, parseErr := event.Parse(body)
		if parseErr != nil || tooLarge != nil {
			// The answer is never a 4xx: only DROP makes a poison message a dead letter.
			s.options.Log.ErrorContext(r.Context(), "malformed event goes to the dead letters", "path", r.URL.Path, "error", errors.Join(parseErr, err))
			status(w, common.SubscriptionResponseStatusDrop)
			return
		}
		if e.Type == HeartbeatType {
			s.traffic.beat(e.Source, e.Subject)
			status(w, common.SubscriptionResponseStatusSuccess)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), eventKey{}, e))
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.mux.ServeHTTP(w, r)
	})
}

// Raw answers the deliveries of a topic whose messages may be anything, such as a topic of dead letters. It passes each
// body to take. If take returns an error, the message is delivered again. Raw never drops a message, because no other
// place would keep it.
//
// Deliveries count as traffic, and heartbeats are not passed on. A body larger than the limit is cut, because a refused
// message would be delivered without end. The caller has checked the token.
func (s *Subscriber) Raw(topic string, take func(ctx context.Context, body []byte) error) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		body, err := io.ReadAll(r.Body)
		if tooLarge := (*http.MaxBytesError)(nil); err != nil && !errors.As(err, &tooLarge) {
			return fmt.Errorf("reading a delivery: %w", err)
		}
		s.traffic.came(topic)
		if IsHeartbeat(body) {
			status(w, common.SubscriptionResponseStatusSuccess)
			return nil
		}
		defer s.traffic.begin(topic, "")()
		if err := take(r.Context(), body); err != nil {
			s.options.Log.WarnContext(r.Context(), "dead letter will be delivered again", "error", err)
			status(w, common.SubscriptionResponseStatusRetry)
			return nil
		}
		status(w, common.SubscriptionResponseStatusSuccess)
		return nil
	}
}

// Traffic returns what came in from a topic.
func (s *Subscriber) Traffic(topic string) Traffic { return s.traffic.of(topic) }

// Replicas is how many replicas of an app have sent heartbeats since then that reached this replica.
func (s *Subscriber) Replicas(app string, since time.Time) int { return s.traffic.replicas(app, since) }

func status(w http.ResponseWriter, s common.SubscriptionResponseStatus) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(common.SubscriptionResponse{Status: s}) // without this answer, the sidecar delivers again
}
