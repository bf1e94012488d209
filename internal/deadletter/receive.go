package deadletter

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/correlation"
	"caravan/internal/event"
)

// automaticMax is how often the consumer itself tries a dead letter again while the error is retriable. Each try is one
// delivery by the broker. After that the letter waits for staff, because the broker would deliver it without end.
const automaticMax = 3

// onArrival is the reason in the history for these tries.
const onArrival = "tried once more on arrival"

// Receive stores a message from the dead-letter topic, whatever it contains. A message that is stored already is not stored
// again.
//
// Most dead letters are valid: the store was unavailable for longer than deliveries are repeated. So Receive tries each once
// more, and only those that still fail stay open. A retriable error asks for another delivery.
func (q *Queue) Receive(ctx context.Context, body []byte) error {
	letter := ReadMessage(body, q.Check)
	ctx = correlation.Remote(ctx, letter.CorrelationID, letter.TraceParent)
	before, _ := q.failures.Get(letter.EventID)
	letter.Exhausted(before.attempts, before.last)
	kept, err := q.keep(ctx, letter, before.attempts)
	if err != nil || kept.Status != StatusOpen || q.automatic(kept) >= automaticMax {
		return err
	}
	_, err = q.replay(ctx, kept, Instruction{By: q.Consumer, Reason: onArrival})
	var unreplayable *UnreplayableError
	if errors.As(err, &unreplayable) || errors.Is(err, ErrDiscarded) {
		return nil
	}
	return err
}

// automatic counts the failed attempts of the consumer itself.
func (q *Queue) automatic(d *Letter) (attempts int) {
	for _, a := range d.History {
		if a.Kind == ActionFailed && a.By == q.Consumer {
			attempts++
		}
	}
	return attempts
}

// Failed remembers that a delivery of an event failed. The broker does not say why when it delivers the event as a dead
// letter. Only this replica knows. When it forgets, the letter has no details of the failure.
func (q *Queue) Failed(eventID string, err error) {
	q.failures.Update(eventID, func(f failure) failure { return failure{attempts: f.attempts + 1, last: Reason(err)} })
}

// DeadLetter stores an event that can never be handled, and why. It is for events that no broker can dead-letter: those that
// were pulled from a feed, or acknowledged before they were handled.
func (q *Queue) DeadLetter(ctx context.Context, e event.Event, cause error) error {
	body, err := e.CloudEvent()
	if err != nil {
		return err
	}
	letter := ReadMessage(body, q.Check)
	letter.Reason = Reason(cause)
	_, err = q.keep(ctx, letter, 1)
	return err
}

// keep stores a letter after some attempts to handle it. It returns the stored letter, which may be an older one.
func (q *Queue) keep(ctx context.Context, letter Message, attempts int) (*Letter, error) {
	letter.Consumer = q.Consumer
	known, err := q.letters.GetMany(ctx, letter.ID)
	if err != nil {
		return nil, fmt.Errorf("reading dead letter: %w", err)
	}
	if known[letter.ID] != nil {
		return known[letter.ID], nil
	}
	now := q.Clock.Now()
	entry, err := q.announce(ctx, q.entries, listed{ID: letter.ID, Topic: letter.Topic, Type: letter.Type, At: now.UTC()})
	if err != nil {
		return nil, err
	}
	kept, err := q.letters.Update(ctx, letter.ID, func(d *Letter) error { return d.Receive(letter, entry, attempts, now) })
	if err != nil {
		return nil, fmt.Errorf("keeping dead letter: %w", err)
	}
	q.Log.ErrorContext(ctx, "dead letter kept", "dead_letter", letter.ID, "topic", letter.Topic, "event", letter.EventID, "reason", letter.Reason)
	q.Count(ctx, OutcomeDead, event.Event{Type: letter.Type, Source: letter.Topic})
	return kept, nil
}
