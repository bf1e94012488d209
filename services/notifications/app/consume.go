package app

import (
	"context"

	"caravan/internal/event"
	"caravan/internal/feed"
)

// Consumer hands events to Deliver that come by two roads: pushed by the broker, which is fast, and pulled from the
// producers' feeds, which is complete.
type Consumer struct {
	notifications *Notifications
	seen          *feed.Seen
}

// NewConsumer makes a Consumer. The pullers must share seen, so that they skip what was pushed.
func NewConsumer(n *Notifications, seen *feed.Seen) *Consumer {
	return &Consumer{notifications: n, seen: seen}
}

// Pushed handles an event from the broker. For one that can never be handled it returns an error, upon which the
// sidecar takes the message to the dead letters.
func (c *Consumer) Pushed(ctx context.Context, e event.Event) error {
	if c.seen.Has(e.ID) {
		return nil
	}
	if err := c.notifications.Deliver(ctx, e); err != nil {
		return err
	}
	c.seen.Add(e.ID)
	return nil
}

// Pulled handles an event from a feed. One that can never be handled is put away here, so that it neither gets lost nor
// stops the feed.
func (c *Consumer) Pulled(ctx context.Context, e event.Event) error {
	err := c.notifications.Deliver(ctx, e)
	if err == nil || event.Retriable(err) {
		return err
	}
	return c.notifications.PutAway(ctx, e, err)
}
