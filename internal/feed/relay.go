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

// Publisher sends events of one topic to the broker. Success is no proof that
// the broker has them.
type Publisher interface {
	Publish(ctx context.Context, topic string, events []event.Event) error
}

const (
	relayQueue   = 16384 // events that wait to be published
	relayBatch   = 100   // events in one publish
	relayTimeout = 10 * time.Second
)

// Relay publishes events off the path of the requests that caused them; it
// implements document.Relay. When the broker is slow or unavailable it drops events
// and does not delay requests: consumers pull those from the feed.
type Relay struct {
	publisher Publisher
	topic     string
	clock     clock.Clock
	log       *slog.Logger
	queue     chan *event.Event // pointers, as most of its places are empty
	dropped   atomic.Int64
	published atomic.Int64
}

// NewRelay makes a Relay for one topic; Run must be running for it to work.
func NewRelay(p Publisher, topic string, clk clock.Clock, log *slog.Logger) *Relay {
	return &Relay{publisher: p, topic: topic, clock: clk, log: log, queue: make(chan *event.Event, relayQueue)}
}

// Publish queues events; it never waits.
func (r *Relay) Publish(events []event.Event) {
	for _, e := range events {
		select {
		case r.queue <- &e: // a copy, as one of a document's events would keep all of them in memory
		default:
			r.dropped.Add(1)
		}
	}
}

// Only is the relay for the types of events that publish accepts. The others
// are not pushed, which saves a write in the broker for each of its queues; those
// who want them pull the feed.
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

// Counts are how many events were handed to the broker and how many were left
// to the feed.
func (r *Relay) Counts() (published, dropped int64) { return r.published.Load(), r.dropped.Load() }

// Run publishes until ctx ends, and then what is queued already, within the
// time that the broker takes for it but at most 5 s.
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

// gather takes what waits behind the first event.
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

// send publishes with two more tries, and then leaves the events to the feed.
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
