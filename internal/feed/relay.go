package feed

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/event"
)

// Publisher sends events of one topic to the broker. Success does not prove that the broker has them.
type Publisher interface {
	Publish(ctx context.Context, topic string, events []event.Event) error
}

const (
	relayQueue   = 16384 // events that wait to be published
	relayBatch   = 100   // events in one publish
	relayTimeout = 10 * time.Second
)

// Relay publishes events, and the requests that caused them do not wait. It implements document.Relay. When the broker
// is slow or unavailable it drops events: consumers pull those from the feed.
type Relay struct {
	publisher Publisher
	topic     string
	clock     clock.Clock
	log       *slog.Logger
	queue     chan *event.Event // pointers, because most places of the queue are empty
	dropped   atomic.Int64
	published atomic.Int64
}

// NewRelay makes a Relay for one topic. It publishes while Run runs.
func NewRelay(p Publisher, topic string, clk clock.Clock, log *slog.Logger) *Relay {
	return &Relay{publisher: p, topic: topic, clock: clk, log: log, queue: make(chan *event.Event, relayQueue)}
}

// Publish queues events; it never waits.
func (r *Relay) Publish(events []event.Event) {
	for _, e := range events {
		select {
		case r.queue <- &e: // a copy: a pointer into the slice would keep all events of the document in memory
		default:
			r.dropped.Add(1)
		}
	}
}

// Only returns a relay for the types of events that publish accepts. The other types are not pushed, which saves a
// write in the broker for each of its queues. Consumers of those types pull the feed.
func (r *Relay) Only(publish func(typ string) bool) document.Relay { return selective{r, publish} }

type selective struct {
	relay   *Relay
	publish func(typ string) bool
}

func (s selective) Publish(events []event.Event) {
	for i, e := range events {
		if s.publish(e.Type) {
			s.relay.Publish(events[i : i+1])
		}
	}
}

// Counts returns how many events were handed to the broker and how many were left to the feed.
func (r *Relay) Counts() (published, dropped int64) { return r.published.Load(), r.dropped.Load() }

// Run publishes until ctx ends. Then it publishes what is in the queue, for at most 5 s.
func (r *Relay) Run(ctx context.Context) error {
	for {
		select {
		case e := <-r.queue:
			r.send(ctx, r.gather(*e))
		case <-ctx.Done():
			r.flush(context.WithoutCancel(ctx))
			return nil
		}
	}
}

func (r *Relay) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		select {
		case e := <-r.queue:
			r.send(ctx, r.gather(*e))
		default:
			return
		}
	}
}

// gather takes the events that wait in the queue behind the first one.
func (r *Relay) gather(first event.Event) []event.Event {
	events := []event.Event{first}
	for len(events) < relayBatch {
		select {
		case e := <-r.queue:
			events = append(events, *e)
		default:
			return events
		}
	}
	return events
}

// send tries to publish three times. Then it leaves the events to the feed.
func (r *Relay) send(ctx context.Context, events []event.Event) {
	for attempt := range 3 {
		err := r.publish(ctx, events)
		if err == nil {
			r.published.Add(int64(len(events)))
			return
		}
		r.log.WarnContext(ctx, "publishing failed; consumers will pull these events", "topic", r.topic,
			"events", len(events), "first", events[0].ID, "attempt", attempt+1, "error", err)
		if r.clock.Sleep(ctx, 100*time.Millisecond<<attempt) != nil {
			break
		}
	}
	r.dropped.Add(int64(len(events)))
}

func (r *Relay) publish(ctx context.Context, events []event.Event) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), relayTimeout)
	defer cancel()
	return r.publisher.Publish(ctx, r.topic, events)
}
