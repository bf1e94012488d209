package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"caravan/internal/deadletter"
	"caravan/internal/deadletter/api"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/internal/request"
	"caravan/internal/sidecar"
	"caravan/internal/subscription"
)

// deadTopic is the last part of the topic of a program's dead letters, <program>.dead, and of its route.
const deadTopic = "dead"

// Consumer describes how a program handles the events of other services.
type Consumer struct {
	// Producers are the apps whose events are handled. Each has a topic with its name, and a feed.
	Producers []string
	// Handle handles an event. It returns when its effect is stored.
	Handle event.Handler
	// Collector, if not nil, takes pushed events in place of Handle, to store several of them at once.
	Collector feed.Collector
	// Check, which may be nil, returns why Handle can never handle an event, for its dead letter.
	Check func(e event.Event) error
	// Remember is how many recent events are remembered, so that the pull of an event that was pushed costs nothing; at least 1.
	Remember int
	// Count, which may be nil, counts what happens to dead letters. See deadletter.Options.
	Count func(ctx context.Context, outcome string, e event.Event)
	// DeadLettersPath is the path of the dead letters for staff, api.Path if "". The gateway forwards a path to one
	// program.
	DeadLettersPath string
	// ReadPermission and WritePermission are needed to see dead letters, and to replay or discard them.
	ReadPermission, WritePermission string
}

// Consume handles the events of other services, each of them once as far as the program can tell. Call it once. It sets
// up:
//   - the subscriptions of the topics, by which the broker pushes events;
//   - the pull of the feeds, which deliver what the broker loses;
//   - the filter for events that were handled already;
//   - the dead letters: the subscription of the topic <program>.dead, the routes for staff, and the worker that
//     replays or discards many of them.
//
// The sidecar needs a subscription of each topic in dapr/resources/subscriptions.yaml, with the route /events/<topic>, the
// dead-letter topic <program>.dead, and one of that topic with the route /events/dead. The program is not ready without them.
func (s *Service) Consume(c Consumer) *deadletter.Queue {
	switch {
	case s.consumes:
		s.failures = append(s.failures, errors.New("Consume was called twice: a program has one consumer"))
		return nil
	case c.Handle == nil || len(c.Producers) == 0 || c.Remember < 1 || c.ReadPermission == "" || c.WritePermission == "":
		s.failures = append(s.failures, errors.New("Consume needs Producers, Handle, Remember and the permissions for dead letters"))
		return nil
	}
	s.consumes = true
	letters := deadletter.New(deadletter.Options{
		Consumer: s.Name, Handle: c.Handle, Check: c.Check, Count: c.Count,
		Store: s.Sidecar.Store(), Clock: s.Clock, IDs: s.IDs, Log: s.Log,
	})
	if err := letters.ExportOpen(s.Telemetry.Meter); err != nil {
		s.failures = append(s.failures, err)
	}
	ages := s.eventAges()
	consumer := &feed.Consumer{Handle: c.Handle, Collector: c.Collector, Seen: feed.NewSeen(c.Remember), DeadLetters: letters}
	if c.Collector != nil {
		s.BackgroundLast("collector", func(ctx context.Context) error { return c.Collector.Run(ctx, consumer.Settle) })
	}
	for _, producer := range c.Producers {
		s.subscribe(producer, ages.measure(producer, consumer.Seen, consumer.Push))
		puller := &feed.Puller{
			Producer: producer, Invoker: s.Sidecar.Invoker(), Store: s.Sidecar.Store(), Seen: consumer.Seen, Handle: c.Handle,
			DeadLetter: letters.DeadLetter, Clock: s.Clock, IDs: s.IDs, Log: s.Log, Every: s.Settings.Feed.PullInterval,
		}
		s.Background("pull "+producer, puller.Run)
	}
	s.Background("batches of dead letters", deadletter.NewBatchWorker(letters).Run)
	s.serveDeadLetters(letters, c)
	return letters
}

// serveDeadLetters registers the routes of dead letters: one for the sidecar, which delivers them, and those for staff.
func (s *Service) serveDeadLetters(letters *deadletter.Queue, c Consumer) {
	topic := s.Name + "." + deadTopic
	s.route("POST "+sidecar.EventPath+deadTopic, kindInternal, s.subscriber.Raw(topic, letters.Receive))
	s.topics = append(s.topics, topic)
	for _, route := range api.Routes(letters, cmp.Or(c.DeadLettersPath, api.Path)) {
		permission := c.ReadPermission
		if route.Write {
			permission = c.WritePermission
		}
		s.Public(route.Pattern, func(r *http.Request) (request.Answer, error) {
			caller, err := Require(r, permission)
			if err != nil {
				return request.Answer{}, err
			}
			return route.Handle(r, caller.Subject)
		})
	}
}

// subscribe handles the events of a topic. The sidecar posts them to /events/<topic>
// (dapr/resources/subscriptions.yaml). The program is not ready while its sidecar has no such subscription. The
// program's own name may be missing at the start of the topic.
func (s *Service) subscribe(topic string, h event.Handler) {
	topic = strings.TrimPrefix(topic, s.Name+".")
	if err := s.subscriber.Handle(topic, h); err != nil {
		s.failures = append(s.failures, fmt.Errorf("subscribing to %s: %w", topic, err))
		return
	}
	if len(s.topics) == 0 {
		deliveries := s.subscriber.Handler()
		s.route("POST "+sidecar.EventPath+"{topic}", kindEvent, func(w http.ResponseWriter, r *http.Request) error {
			deliveries.ServeHTTP(w, r)
			return nil
		})
	}
	s.topics = append(s.topics, topic)
}

// monitorSubscriptions sets up the monitor of a program that has subscriptions.
func (s *Service) monitorSubscriptions(c subscription.Sidecar) (err error) {
	if len(s.topics) == 0 {
		return nil
	}
	if s.Settings.Heartbeat.Every <= 0 {
		s.Log.Warn("dead subscriptions are not repaired: heartbeat.every is 0")
		return nil
	}
	if s.monitor, err = subscription.New(subscription.Options{
		Topics: s.topics, App: s.Settings.App.ID, Replica: s.IDs.New(), Settings: s.Settings.Heartbeat, Sidecar: c, Subscriber: s.subscriber,
		Clock: s.Clock, Jitter: s.Jitter, Log: s.Log, Meter: s.Telemetry.Meter,
	}); err != nil {
		return err
	}
	s.Background("subscriptions", s.monitor.Run)
	return nil
}
