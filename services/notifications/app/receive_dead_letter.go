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

// automaticMax is how often the service itself tries a dead letter again, if the failure is one that may pass. The
// broker brings the letter that often; then it is left to staff, as one that never passes would come for ever.
const automaticMax = 3

// onArrival is the reason that the service itself gives.
const onArrival = "tried once more on arrival"

// ReceiveDeadLetter keeps a message that could not be handled, whatever it is, for staff to decide about. A message
// that is kept already is not kept again.
//
// Most dead letters have nothing wrong with them: the store was away for longer than deliveries are repeated. So each
// is tried once more, and only what still cannot be handled stays open. A retriable error asks for another delivery.
func (n *Notifications) ReceiveDeadLetter(ctx context.Context, body []byte) error {
	letter := domain.ReadLetter(body)
	ctx = correlation.Remote(ctx, letter.CorrelationID, letter.TraceParent)
	before := n.failures.known(letter.EventID)
	letter.Exhausted(before.attempts, before.last)
	kept, err := n.keep(ctx, letter, before.attempts)
	if err != nil || kept.Status != domain.LetterOpen || automatic(kept) >= automaticMax {
		return err
	}
	_, err = n.replay(ctx, kept, Instruction{By: contract.App, Reason: onArrival})
	var unreplayable *UnreplayableError
	if errors.As(err, &unreplayable) || errors.Is(err, domain.ErrLetterDiscarded) {
		return nil
	}
	return err
}

// automatic counts the attempts that the service itself has made in vain.
func automatic(d *domain.DeadLetter) (attempts int) {
	for _, a := range d.History {
		if a.Kind == domain.ActionFailed && a.By == contract.App {
			attempts++
		}
	}
	return attempts
}

// PutAway keeps an event that came with the feed, or was taken already, and can never be handled: it has no broker to
// take it to the dead letters.
func (n *Notifications) PutAway(ctx context.Context, e event.Event, cause error) error {
	body, err := e.CloudEvent()
	if err != nil {
		return err
	}
	letter := domain.ReadLetter(body)
	letter.Reason = domain.Reason(cause)
	_, err = n.keep(ctx, letter, 1)
	return err
}

// keep stores a letter after some attempts to handle it and returns it, or one that is kept already as it is.
func (n *Notifications) keep(ctx context.Context, letter domain.Letter, attempts int) (*domain.DeadLetter, error) {
	letter.Consumer = contract.App
	known, err := n.letters.GetMany(ctx, letter.ID)
	if err != nil {
		return nil, fmt.Errorf("reading dead letter: %w", err)
	}
	if known[letter.ID] != nil {
		return known[letter.ID], nil
	}
	now := n.Clock.Now()
	entry, err := n.lettered.announce(ctx, listed{ID: letter.ID, Topic: letter.Topic, Type: letter.Type, At: now.UTC()})
	if err != nil {
		return nil, err
	}
	kept, err := n.letters.Update(ctx, letter.ID, func(d *domain.DeadLetter) error { return d.Receive(letter, entry, attempts, now) })
	if err != nil {
		return nil, fmt.Errorf("keeping dead letter: %w", err)
	}
	n.Log.ErrorContext(ctx, "dead letter kept", "dead_letter", letter.ID, "topic", letter.Topic, "event", letter.EventID, "reason", letter.Reason)
	n.Counter.Count(ctx, OutcomeDead, event.Event{Type: letter.Type, Source: letter.Topic})
	return kept, nil
}
