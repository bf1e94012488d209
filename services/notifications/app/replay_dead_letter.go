package app

import (
	"context"
	"fmt"

	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/services/notifications/domain"
)

// UnreplayableError says why a dead letter still cannot be handled.
type UnreplayableError struct{ Cause error }

// Error implements error.
func (e *UnreplayableError) Error() string {
	return "the message still cannot be handled: " + e.Cause.Error()
}

// Unwrap gives the cause.
func (e *UnreplayableError) Unwrap() error { return e.Cause }

// ReplayDeadLetter handles a dead letter again, as any delivery of its event, and marks it as replayed. One that was
// replayed before is returned as it is. Errors: document.ErrNotFound; domain.ErrLetterDiscarded; *UnreplayableError for
// a message that can no more be handled than before.
func (n *Notifications) ReplayDeadLetter(ctx context.Context, letterID, by string) (*domain.DeadLetter, error) {
	letter, err := n.letter(ctx, letterID)
	if err != nil {
		return nil, err
	}
	switch letter.Status {
	case domain.LetterReplayed:
		return letter, nil
	case domain.LetterDiscarded:
		return nil, domain.ErrLetterDiscarded
	}
	e, err := letter.Event()
	if err == nil {
		err = n.Deliver(ctx, e)
	}
	if err != nil && !event.Retriable(err) {
		return nil, &UnreplayableError{err}
	}
	if err != nil {
		return nil, fmt.Errorf("replaying dead letter: %w", err)
	}
	now := n.Clock.Now()
	letter, err = n.letters.Update(ctx, letterID, func(d *domain.DeadLetter) error { return d.Replayed(by, now) })
	if err != nil {
		return nil, fmt.Errorf("marking dead letter as replayed: %w", err)
	}
	n.Log.InfoContext(ctx, "dead letter replayed", "dead_letter", letterID, "event", letter.EventID, "by", by)
	return letter, nil
}

func (n *Notifications) letter(ctx context.Context, letterID string) (*domain.DeadLetter, error) {
	letters, err := n.letters.GetMany(ctx, letterID)
	if err != nil {
		return nil, fmt.Errorf("reading dead letter: %w", err)
	}
	if letters[letterID] == nil {
		return nil, document.ErrNotFound
	}
	return letters[letterID], nil
}
