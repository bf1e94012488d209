package feed

import (
	"context"

	"caravan/internal/event"
)

// Consumer handles the events of producers. It receives an event in two ways: the broker pushes it, which is fast, and
// it pulls it from the producer's feed, which is complete.
type Consumer struct {
	// Handle handles an event. It returns when its effect is stored.
	Handle event.Handler
	// Collector, if not nil, takes pushed events in place of Handle.
	Collector Collector
	// Seen has the events that were handled, whether pushed or pulled.
	Seen *Seen
	// DeadLetters has the events that can never be handled.
	DeadLetters DeadLetters
}

// Collector takes pushed events into memory, so that several of them can be stored at once. A crash loses the events that it
// has taken and not stored. The feed delivers them again.
type Collector interface {
	// Take is an event.Handler. It may return before the event is stored.
	Take(ctx context.Context, e event.Event) error
	// Run stores the events that were taken, until ctx ends. It calls settle for each of them: with no error when the
	// event is stored, or with a final error when it can never be stored. If settle fails, Run calls it again later.
	Run(ctx context.Context, settle func(ctx context.Context, e event.Event, err error) error) error
}

// DeadLetters is the dead-letter queue of a consumer.
type DeadLetters interface {
	// DeadLetter stores an event that can never be handled, and why.
	DeadLetter(ctx context.Context, e event.Event, cause error) error
	// Failed remembers why a delivery failed, until the broker dead-letters the event.
	Failed(eventID string, err error)
}

// Push handles an event from the broker; it is an event.Handler. For an event that can never be handled it returns a final
// error, and the sidecar dead-letters the message.
func (c *Consumer) Push(ctx context.Context, e event.Event) error {
	err := event.Protect(c.push)(ctx, e)
	if err != nil {
		c.DeadLetters.Failed(e.ID, err)
	}
	return err
}

func (c *Consumer) push(ctx context.Context, e event.Event) error {
	if c.Seen.Has(e.ID) {
		return nil
	}
	if c.Collector != nil {
		return c.Collector.Take(ctx, e)
	}
	err := c.Handle(ctx, e)
	if err == nil {
		c.Seen.Add(e.ID)
	}
	return err
}

// Settle records the result of an event that the Collector has taken.
func (c *Consumer) Settle(ctx context.Context, e event.Event, err error) error {
	if err != nil {
		if err := c.DeadLetters.DeadLetter(ctx, e, err); err != nil {
			return err
		}
	}
	c.Seen.Add(e.ID)
	return nil
}
