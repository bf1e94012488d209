package deadletter

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/correlation"
	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/id"
)

// Instruction says who asks for an action on a dead letter, and why.
type Instruction struct {
	// By is the id of a user, or the app id of the consumer itself.
	By string
	// Reason is the reason that they gave.
	Reason string
	// Key is the client's Idempotency-Key, "" for none: a repeat with the same key gets the same answer and leaves no
	// other trace.
	Key string
	// operation replaces Key. Each batch has its own.
	operation string
	// last means that a retriable failure is final for this operation.
	last bool
}

// action returns the instruction as an entry of the letter's history.
func (q *Queue) action(letterID string, in Instruction) Action {
	operation := in.operation
	switch {
	case operation != "":
	case in.Key != "":
		operation = id.Derive("dead-letter-action", letterID, in.By, in.Key)
	default:
		operation = q.IDs.New()
	}
	return Action{Operation: operation, At: q.Clock.Now().UTC(), By: in.By, Reason: in.Reason}
}

// UnreplayableError says why a dead letter still cannot be handled.
type UnreplayableError struct{ Cause error }

// Error implements error.
func (e *UnreplayableError) Error() string {
	return "the message still cannot be handled: " + Reason(e.Cause)
}

// Unwrap returns the cause.
func (e *UnreplayableError) Unwrap() error { return e.Cause }

// Replay handles a dead letter again, like any delivery of its event, and marks it as replayed. A repeat has no second
// effect. Neither has an event that was handled meanwhile. A letter that was replayed before is returned unchanged.
// Errors: document.ErrNotFound; ErrDiscarded; ErrOperation; *UnreplayableError for a message that still cannot be
// handled; a retriable error for one that may be handled later.
func (q *Queue) Replay(ctx context.Context, letterID string, in Instruction) (*Letter, error) {
	letter, err := q.Show(ctx, letterID)
	if err != nil {
		return nil, err
	}
	return q.replay(ctx, letter, in)
}

func (q *Queue) replay(ctx context.Context, letter *Letter, in Instruction) (*Letter, error) {
	a := q.action(letter.ID, in)
	if answered, err := repeated(letter, a); answered {
		return letter, err
	}
	e, err := letter.Event()
	// What the event causes is found by the ids of what caused the event, as after a delivery. The request of staff has ids of its own.
	caused := correlation.Remote(ctx, letter.CorrelationID, letter.TraceParent)
	if err == nil {
		err = event.Protect(q.Handle)(caused, e)
	}
	if err != nil {
		return nil, q.failed(ctx, letter, in, a, err)
	}
	q.Log.InfoContext(caused, "dead letter handled", "dead_letter", letter.ID, "topic", letter.Topic, "event", letter.EventID, "aggregate", e.Subject,
		"request", correlation.ID(ctx))
	return q.act(ctx, letter.ID, a, (*Letter).Replayed)
}

// repeated answers if no attempt is needed: the operation is done, or the letter is not open.
func repeated(letter *Letter, a Action) (answered bool, err error) {
	if done, ok := letter.Done(a.Operation); ok {
		switch {
		case done.Reason != a.Reason || done.Kind == ActionDiscarded:
			return true, ErrOperation
		case done.Kind == ActionFailed:
			return true, &UnreplayableError{errors.New(done.Outcome)}
		}
		return true, nil
	}
	switch letter.Status {
	case StatusReplayed:
		return true, nil
	case StatusDiscarded:
		return true, ErrDiscarded
	}
	return false, nil
}

// failed records a failed attempt and returns the error for the caller. A retriable failure does not complete the operation,
// so that a repeat tries again.
func (q *Queue) failed(ctx context.Context, letter *Letter, in Instruction, a Action, cause error) error {
	a.Outcome = Reason(cause)
	answer := error(&UnreplayableError{cause})
	if event.Retriable(cause) {
		answer = fmt.Errorf("replaying dead letter: %w", cause)
	}
	switch {
	case !event.Retriable(cause), in.last:
	case in.operation != "":
		return answer // the batch tries again
	default:
		a.Operation = q.IDs.New()
	}
	if _, err := q.act(ctx, letter.ID, a, (*Letter).Failed); err != nil {
		q.Log.WarnContext(ctx, "a failed replay could not be noted", "dead_letter", letter.ID, "error", err)
		if in.operation != "" {
			return err // the batch learns from the history that this letter is done
		}
	}
	return answer
}

// act applies an action to a letter. If that changes the letter, act writes an audit line to the log.
func (q *Queue) act(ctx context.Context, letterID string, a Action, apply func(*Letter, Action) error) (*Letter, error) {
	changed := false
	letter, err := q.letters.Update(ctx, letterID, func(d *Letter) error {
		err := apply(d, a)
		changed = err == nil
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("noting what was done about a dead letter: %w", err)
	}
	if changed {
		done := letter.History[len(letter.History)-1]
		q.Log.InfoContext(ctx, "audit", "action", "dead_letter."+string(done.Kind), "actor", a.By, "reason", a.Reason, "outcome", a.Outcome,
			"operation", a.Operation, "dead_letter", letterID, "event", letter.EventID)
		q.Count(ctx, outcomeAction+string(done.Kind), event.Event{Type: letter.Type, Source: letter.Topic})
	}
	return letter, nil
}

// Discard closes a dead letter without handling it, for a reason. A letter that was discarded before is returned
// unchanged. Errors: document.ErrNotFound; ErrReplayed; ErrOperation.
func (q *Queue) Discard(ctx context.Context, letterID string, in Instruction) (*Letter, error) {
	if !id.Valid(letterID) {
		return nil, document.ErrNotFound
	}
	return q.act(ctx, letterID, q.action(letterID, in), (*Letter).Discard)
}

// Show reads one dead letter with its whole message and history. Errors: document.ErrNotFound.
func (q *Queue) Show(ctx context.Context, letterID string) (*Letter, error) {
	if !id.Valid(letterID) {
		return nil, document.ErrNotFound // the id could be the key of another document
	}
	letter, err := q.letters.Get(ctx, letterID)
	if err != nil {
		return nil, fmt.Errorf("reading dead letter: %w", err)
	}
	return letter, nil
}
