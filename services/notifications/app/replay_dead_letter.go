package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/id"
	"caravan/services/notifications/domain"
)

// Instruction is what somebody wants done about a dead letter.
type Instruction struct {
	// By is the id of a user, or the app id of the service itself.
	By string
	// Reason is why, in their words.
	Reason string
	// Key is the client's Idempotency-Key, "" for none: a repeat with the same key gets the same answer and leaves no
	// other trace.
	Key string
	// operation replaces what Key says; a batch has its own.
	operation string
	// last says that a failure that may pass is final for this operation.
	last bool
}

// action is what the letter remembers of the instruction.
func (n *Notifications) action(letterID string, in Instruction) domain.Action {
	operation := in.operation
	switch {
	case operation != "":
	case in.Key != "":
		operation = id.Derive("dead-letter-action", letterID, in.By, in.Key)
	default:
		operation = n.IDs.New()
	}
	return domain.Action{Operation: operation, At: n.Clock.Now().UTC(), By: in.By, Reason: in.Reason}
}

// UnreplayableError says why a dead letter still cannot be handled.
type UnreplayableError struct{ Cause error }

// Error implements error.
func (e *UnreplayableError) Error() string {
	return "the message still cannot be handled: " + domain.Reason(e.Cause)
}

// Unwrap gives the cause.
func (e *UnreplayableError) Unwrap() error { return e.Cause }

// ReplayDeadLetter handles a dead letter again, as any delivery of its event, and marks it as replayed. Neither a
// repeat nor an event that was handled meanwhile has a second effect. One that was replayed before is returned as it
// is. Errors: document.ErrNotFound; domain.ErrLetterDiscarded; domain.ErrOperation; *UnreplayableError for a message
// that can no more be handled than before; a retriable error for one that may be handled later.
func (n *Notifications) ReplayDeadLetter(ctx context.Context, letterID string, in Instruction) (*domain.DeadLetter, error) {
	letter, err := n.ShowDeadLetter(ctx, letterID)
	if err != nil {
		return nil, err
	}
	return n.replay(ctx, letter, in)
}

func (n *Notifications) replay(ctx context.Context, letter *domain.DeadLetter, in Instruction) (*domain.DeadLetter, error) {
	a := n.action(letter.ID, in)
	if answered, err := repeated(letter, a); answered {
		return letter, err
	}
	e, err := letter.Event()
	if err == nil {
		err = event.Protect(n.Deliver)(ctx, e)
	}
	if err != nil {
		return nil, n.failed(ctx, letter, in, a, err)
	}
	return n.act(ctx, letter.ID, a, (*domain.DeadLetter).Replayed)
}

// repeated answers what needs no attempt: an operation that is done, and a letter about which is decided.
func repeated(letter *domain.DeadLetter, a domain.Action) (answered bool, err error) {
	if done, ok := letter.Done(a.Operation); ok {
		switch {
		case done.Reason != a.Reason || done.Kind == domain.ActionDiscarded:
			return true, domain.ErrOperation
		case done.Kind == domain.ActionFailed:
			return true, &UnreplayableError{errors.New(done.Outcome)}
		}
		return true, nil
	}
	switch letter.Status {
	case domain.LetterReplayed:
		return true, nil
	case domain.LetterDiscarded:
		return true, domain.ErrLetterDiscarded
	}
	return false, nil
}

// failed notes an attempt in vain and returns what the caller is told. A failure that may pass does not use up the
// operation, so that a repeat tries again.
func (n *Notifications) failed(ctx context.Context, letter *domain.DeadLetter, in Instruction, a domain.Action, cause error) error {
	a.Outcome = domain.Reason(cause)
	answer := error(&UnreplayableError{cause})
	if event.Retriable(cause) {
		answer = fmt.Errorf("replaying dead letter: %w", cause)
	}
	switch {
	case !event.Retriable(cause), in.last:
	case in.operation != "":
		return answer // of a batch, which has not given up yet
	default:
		a.Operation = n.IDs.New()
	}
	if _, err := n.act(ctx, letter.ID, a, (*domain.DeadLetter).Failed); err != nil {
		n.Log.WarnContext(ctx, "a failed replay could not be noted", "dead_letter", letter.ID, "error", err)
		if in.operation != "" {
			return err // nothing else would tell the batch that it is done with the letter
		}
	}
	return answer
}

// act applies an action to a letter, and leaves the trace that an audit follows if it changed anything.
func (n *Notifications) act(ctx context.Context, letterID string, a domain.Action, apply func(*domain.DeadLetter, domain.Action) error) (*domain.DeadLetter, error) {
	changed := false
	letter, err := n.letters.Update(ctx, letterID, func(d *domain.DeadLetter) error {
		err := apply(d, a)
		changed = err == nil
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("noting what was done about a dead letter: %w", err)
	}
	if changed {
		done := letter.History[len(letter.History)-1]
		n.Log.InfoContext(ctx, "audit", "action", "dead_letter."+string(done.Kind), "actor", a.By, "reason", a.Reason, "outcome", a.Outcome,
			"operation", a.Operation, "dead_letter", letterID, "event", letter.EventID)
		n.Counter.Count(ctx, "letter_"+string(done.Kind), event.Event{Type: letter.Type, Source: letter.Topic})
	}
	return letter, nil
}

// ShowDeadLetter reads one dead letter with its whole message and history. Errors: document.ErrNotFound.
func (n *Notifications) ShowDeadLetter(ctx context.Context, letterID string) (*domain.DeadLetter, error) {
	if !id.Valid(letterID) {
		return nil, document.ErrNotFound // and no key of anything else
	}
	letter, err := n.letters.Get(ctx, letterID)
	if err != nil {
		return nil, fmt.Errorf("reading dead letter: %w", err)
	}
	return letter, nil
}
