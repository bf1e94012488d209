package sidecar

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/dapr/go-sdk/service/common"
	daprhttp "github.com/dapr/go-sdk/service/http"
	"github.com/go-chi/chi/v5"
	"go.opentelemetry.io/otel"

	"caravan/internal/correlation"
	"caravan/internal/event"
)

// EventPath starts the routes that dapr/subscriptions.yaml delivers topics to.
const EventPath = "/events/"

// Subscriber receives events from the sidecar through the SDK's service, behind
// a guard: the SDK checks no token on topic routes and answers 303 to a
// malformed event, which daprd would deliver again for ever.
type Subscriber struct {
	token   string
	log     *slog.Logger
	mux     *chi.Mux
	service common.Service
}

// NewSubscriber makes a Subscriber that accepts deliveries with the app token.
// Subscriptions are declared in dapr/subscriptions.yaml, not programmatically,
// as the SDK can name no dead-letter topic.
func NewSubscriber(appToken string, log *slog.Logger) *Subscriber {
	mux := chi.NewRouter()
	return &Subscriber{token: appToken, log: log, mux: mux, service: daprhttp.NewServiceWithMux("", mux)}
}

// Handle routes the deliveries of a topic to h. An event on which h panics goes
// to the dead letters.
func (s *Subscriber) Handle(topic string, h event.Handler) error {
	h = event.Protect(h)
	subscription := &common.Subscription{PubsubName: PubSubName, Topic: topic, Route: EventPath + topic}
	return s.service.AddTopicEventHandler(subscription, func(ctx context.Context, _ *common.TopicEvent) (bool, error) {
		e, _ := ctx.Value(eventKey{}).(event.Event)
		return s.deliver(ctx, topic, e, h)
	})
}

// deliver runs the handler in the context of the event's cause and logs the
// outcome. It returns what the SDK turns into SUCCESS, RETRY or DROP.
func (s *Subscriber) deliver(ctx context.Context, topic string, e event.Event, h event.Handler) (retry bool, err error) {
	ctx = correlation.Remote(ctx, e.CorrelationID, e.TraceParent)
	ctx, span := otel.Tracer("caravan/internal/sidecar").Start(ctx, "event "+e.Type)
	defer span.End()
	start := time.Now()
	err = h(ctx, e)
	retry = event.Retriable(err)
	attributes := []any{"topic", topic, "event", e.ID, "type", e.Type, "aggregate", e.Subject, "duration_ms", time.Since(start).Milliseconds()}
	switch {
	case err == nil:
		s.log.InfoContext(ctx, "event", attributes...)
	case retry:
		s.log.WarnContext(ctx, "event will be delivered again", append(attributes, "error", err)...)
	default:
		s.log.ErrorContext(ctx, "event goes to the dead letters", append(append(attributes, "error", err), event.Stack(err)...)...)
	}
	return retry, err
}

type eventKey struct{}

// Handler serves the event routes.
func (s *Subscriber) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || subtle.ConstantTimeCompare([]byte(r.Header.Get(tokenHeader)), []byte(s.token)) != 1 {
			http.Error(w, "deliveries need POST and the app token", http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, event.MaxSize))
		var tooLarge *http.MaxBytesError
		if err != nil && !errors.As(err, &tooLarge) {
			status(w, common.SubscriptionResponseStatusRetry)
			return
		}
		e, parseErr := event.Parse(body)
		if parseErr != nil || tooLarge != nil {
			// Never a 4xx: only DROP takes a poison message to the dead letters.
			s.log.ErrorContext(r.Context(), "malformed event goes to the dead letters", "path", r.URL.Path, "error", errors.Join(parseErr, err))
			status(w, common.SubscriptionResponseStatusDrop)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), eventKey{}, e))
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.mux.ServeHTTP(w, r)
	})
}

func status(w http.ResponseWriter, s common.SubscriptionResponseStatus) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(common.SubscriptionResponse{Status: s}) // the sidecar tries again if it does not get this
}
