package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/correlation"
	"caravan/internal/event"
	"caravan/services/notifications/contract"
	"caravan/services/notifications/domain"
)

// ReceiveDeadLetter keeps a message that could not be handled, whatever it is, for staff to decide about. A message
// that is kept already is not kept again.
//
// Most dead letters have nothing wrong with them: the store was away for longer than deliveries are repeated. So each
// is tried once more, and only what still cannot be handled stays open.
func (n *Notifications) ReceiveDeadLetter(ctx context.Context, body []byte) error {
	letter := domain.ReadLetter(body)
	ctx = correlation.Remote(ctx, letter.CorrelationID, letter.TraceParent)
	if err := n.keep(ctx, letter); err != nil {
		return err
	}
	_, err := n.ReplayDeadLetter(ctx, letter.ID, contract.App)
	var unreplayable *UnreplayableError
	if errors.As(err, &unreplayable) || errors.Is(err, domain.ErrLetterDiscarded) {
		return nil
	}
	return err
}

// PutAway keeps an event that came with the feed and can never be handled: it has no broker to take it to the dead
// letters.
func (n *Notifications) PutAway(ctx context.Context, e event.Event, cause error) error {
	body, err := e.CloudEvent()
	if err != nil {
		return err
	}
	letter := domain.ReadLetter(body)
	letter.Reason = domain.Reason(cause)
	return n.keep(ctx, letter)
}

func (n *Notifications) keep(ctx context.Context, letter domain.Letter) error {
	known, err := n.letters.GetMany(ctx, letter.ID)
	if err != nil {
		return fmt.Errorf("reading dead letter: %w", err)
	}
	if known[letter.ID] != nil {
		return nil
	}
	entry, err := n.lettered.announce(ctx, letter.ID)
	if err != nil {
		return err
	}
	now := n.Clock.Now()
	_, err = n.letters.Update(ctx, letter.ID, func(d *domain.DeadLetter) error { return d.Receive(letter, entry, now) })
	if err != nil {
		return fmt.Errorf("keeping dead letter: %w", err)
	}
	n.Log.ErrorContext(ctx, "dead letter kept", "dead_letter", letter.ID, "topic", letter.Topic, "event", letter.EventID, "reason", letter.Reason)
	n.Counter.Count(ctx, OutcomeDead, event.Event{Type: letter.Type, Source: letter.Topic})
	return nil
}
