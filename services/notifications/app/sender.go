package app

import (
	"context"
	"errors"
	"time"

	"caravan/internal/document"
	"caravan/services/notifications/domain"
)

// Threads is the repository of the threads of deliveries.
type Threads = document.Repository[domain.Thread, *domain.Thread]

// ThreadPrefix starts the key of every thread.
const ThreadPrefix = "delivery/"

// Wishes are what users want. They are read when a message is sent.
type Wishes interface {
	// Of returns the preferences of a user, the defaults for one who set none.
	Of(ctx context.Context, userID string) (*domain.Preferences, error)
}

// Message is a delivery that is being sent.
type Message struct {
	// ID is the id of the delivery.
	ID       string
	UserID   string
	Kind     domain.Kind
	Wishes   *domain.Preferences
	Delivery domain.Delivery
}

// Sender sends messages by one channel. Its error says what follows: see Refused, Postponed and Suppressed. After any other
// error it is tried again, a bounded number of times.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// ends is an error of a Sender that says what becomes of the delivery.
type ends struct {
	error
	result domain.Result
}

func (e ends) Unwrap() error { return e.error }

// Refused says that a message can never be sent.
func Refused(err error) error { return ends{err, domain.Result{Refused: true}} }

// Postponed says that a message was not sent, as a service that is needed before does not answer. It does not count as a failed
// attempt.
func Postponed(err error) error { return ends{err, domain.Result{Postponed: true}} }

// Suppressed says that a person is not to get a message.
func Suppressed(reason string) error {
	return ends{errors.New(reason), domain.Result{Suppressed: true}}
}

// Held says that a message is not to be sent before a time. It does not count as a failed attempt.
func Held(until time.Time) error {
	return ends{errors.New("quiet hours of the user"), domain.Result{Postponed: true, Next: until}}
}

// Partly says that a message was sent to some devices, and that it is tried again for others, at a time at the earliest.
func Partly(err error, served []string, notBefore time.Time) error {
	return ends{err, domain.Result{Failed: true, Served: served, Next: notBefore}}
}

// resultOf is what an error of a Sender means for its delivery.
func resultOf(err error) domain.Result {
	var e ends
	switch {
	case err == nil:
		return domain.Result{Sent: true}
	case errors.As(err, &e):
		e.result.Reason = err.Error()
		return e.result
	}
	return domain.Result{Failed: true, Reason: err.Error()}
}
