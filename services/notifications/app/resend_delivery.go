package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/notifications/domain"
)

// ResendDelivery lets staff have a message sent again, whatever its state.
type ResendDelivery struct {
	// Threads is nil if there is no channel but the inbox.
	Threads *Threads
	Driver  *Driver
	Clock   clock.Clock
	IDs     id.Source
	Log     *slog.Logger
}

// Do makes a delivery due at once, once for a key of a member of staff; the key may be empty. A message that is still sent waits for no
// time that was set. What the person has switched off is not sent. Errors: document.ErrNotFound, domain.ErrUnderWay.
func (u ResendDelivery) Do(ctx context.Context, deliveryID, by, key string) (ListedDelivery, error) {
	threadID, place, ok := domain.ParseDeliveryID(deliveryID)
	if !ok || u.Threads == nil {
		return ListedDelivery{}, fmt.Errorf("delivery: %w", document.ErrNotFound)
	}
	operation, changed := u.IDs.New(), false
	if key != "" {
		operation = id.Derive("resend", deliveryID, by, key)
	}
	t, err := u.Threads.Update(ctx, threadID, func(t *domain.Thread) error {
		err := t.Resend(place, operation, u.Clock.Now())
		changed = err == nil
		return err
	})
	if errors.Is(err, domain.ErrNoDelivery) {
		return ListedDelivery{}, fmt.Errorf("delivery: %w", document.ErrNotFound)
	}
	if err != nil {
		return ListedDelivery{}, fmt.Errorf("sending %s again: %w", deliveryID, err)
	}
	if changed {
		u.Log.InfoContext(ctx, "audit", "action", "delivery.resent", "actor", by, "operation", operation, "aggregate", deliveryID)
		u.Driver.Start(ctx, threadID)
	}
	return ListedDelivery{t.Deliveries[place], deliveryID, t.UserID, t.Channel}, nil
}
