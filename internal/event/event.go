// Package event defines the events that services publish for each other: their identity, their CloudEvents form and the
// interface of their handlers.
//
// An event is written inside the document of the aggregate that produced it, so it exists exactly when the state change
// exists. Publishing only makes delivery faster (see package feed).
package event

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"runtime/debug"
	"strconv"
	"time"

	"caravan/internal/clock"
)

// MaxSize is the largest CloudEvent, in bytes, that Parse accepts.
const MaxSize = 256 << 10

// ContentType is the media type of the structured CloudEvents form. With it Dapr keeps our id and extension attributes
// and does not create its own
// (https://docs.dapr.io/developing-applications/building-blocks/pubsub/pubsub-cloudevents/).
const ContentType = "application/cloudevents+json"

// Event is one fact about one aggregate.
type Event struct {
	// ID is the same in every delivery: "<source>/<aggregate id>/<sequence>".
	ID string `json:"id"`
	// Type names the fact and its version, such as "orders.confirmed.v1".
	Type string `json:"type"`
	// Source is the service that owns the aggregate.
	Source string `json:"source"`
	// Subject is the id of the aggregate.
	Subject string `json:"subject"`
	// Sequence counts the events of one aggregate from 1, without gaps.
	Sequence int64 `json:"sequence"`
	// Time is when the change was decided, in UTC.
	Time time.Time `json:"time"`
	// CorrelationID identifies the request that caused the event.
	CorrelationID string `json:"correlationId,omitempty"`
	// CausationID is the id of the event or operation that led to this one.
	CausationID string `json:"causationId,omitempty"`
	// TraceParent is the W3C trace context of the cause.
	TraceParent string `json:"traceparent,omitempty"`
	// Data is the JSON payload. It contains ids and amounts, never personal data.
	Data json.RawMessage `json:"data,omitempty"`
}

// ID builds the id of the sequence-th event of an aggregate.
func ID(source, subject string, sequence int64) string {
	return source + "/" + subject + "/" + strconv.FormatInt(sequence, 10)
}

// Decode reads the payload into v. It ignores unknown members, so a producer may add fields before its consumers know
// them.
func (e Event) Decode(v any) error {
	if err := json.Unmarshal(e.Data, v); err != nil {
		return Drop(fmt.Errorf("decoding data of %s: %w", e.Type, err))
	}
	return nil
}

// wire is the structured JSON form of CloudEvents 1.0 with our extension attributes, whose names must be lower-case
// letters and digits. The trace fields are always strings: a non-string crashes daprd before 1.18.3.
type wire struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Type            string          `json:"type"`
	Source          string          `json:"source"`
	Subject         string          `json:"subject"`
	Time            time.Time       `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	Sequence        sequence        `json:"sequence"`
	CorrelationID   string          `json:"correlationid,omitempty"`
	CausationID     string          `json:"causationid,omitempty"`
	TraceParent     string          `json:"traceparent,omitempty"`
	TraceID         string          `json:"traceid,omitempty"`
	Data            json.RawMessage `json:"data"`
}

// sequence is written as a string, as the CloudEvents sequence extension requires, and is read from a number too.
type sequence int64

func (s sequence) MarshalJSON() ([]byte, error) {
	return []byte(`"` + strconv.FormatInt(int64(s), 10) + `"`), nil
}

func (s *sequence) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(string(bytes.Trim(b, `"`)), 10, 64)
	if err != nil {
		return fmt.Errorf("sequence: %w", err)
	}
	*s = sequence(n)
	return nil
}

// CloudEvent returns the wire form of e, to be published as ContentType.
func (e Event) CloudEvent() ([]byte, error) {
	data := e.Data
	if len(data) == 0 {
		data = json.RawMessage("{}")
	}
	w := wire{
		SpecVersion: "1.0", ID: e.ID, Type: e.Type, Source: e.Source, Subject: e.Subject, Time: e.Time,
		DataContentType: "application/json", Sequence: sequence(e.Sequence), CorrelationID: e.CorrelationID,
		CausationID: e.CausationID, TraceParent: e.TraceParent, TraceID: e.TraceParent, Data: data,
	}
	b, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encoding event %s: %w", e.ID, err)
	}
	return b, nil
}

var (
	typePattern        = regexp.MustCompile(`^[a-z][a-z0-9]{0,31}\.[a-z][a-z0-9_]{0,47}\.v[1-9][0-9]{0,2}$`)
	tokenPattern       = regexp.MustCompile(`^[A-Za-z0-9._~:/@-]{1,200}$`)
	traceParentPattern = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
)

// ErrMalformed means that a message is not one of our events. It can never be handled and is dead-lettered.
var ErrMalformed = errors.New("malformed event")

// Parse reads the wire form and checks it. Its errors are those of Check.
func Parse(b []byte) (Event, error) {
	if len(b) > MaxSize {
		return Event{}, fmt.Errorf("%w: %d bytes is more than %d", ErrMalformed, len(b), MaxSize)
	}
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	e := Event{
		ID: w.ID, Type: w.Type, Source: w.Source, Subject: w.Subject, Sequence: int64(w.Sequence), Time: w.Time.UTC(),
		CorrelationID: w.CorrelationID, CausationID: w.CausationID, TraceParent: w.TraceParent, Data: w.Data,
	}
	if w.SpecVersion != "1.0" {
		return Event{}, fmt.Errorf("%w: specversion %q", ErrMalformed, w.SpecVersion)
	}
	return e, e.Check()
}

// Check checks the form of every attribute that the code relies on. Its errors wrap ErrMalformed and name the
// attribute.
func (e Event) Check() error {
	for _, a := range []struct {
		name, value string
		form        *regexp.Regexp
		optional    bool
	}{
		{"type", e.Type, typePattern, false},
		{"source", e.Source, tokenPattern, false},
		{"subject", e.Subject, tokenPattern, false},
		{"correlationid", e.CorrelationID, tokenPattern, true},
		{"causationid", e.CausationID, tokenPattern, true},
		{"traceparent", e.TraceParent, traceParentPattern, true},
	} {
		if a.value == "" && a.optional {
			continue
		}
		if !a.form.MatchString(a.value) {
			return fmt.Errorf("%w: attribute %s is missing or not of its form", ErrMalformed, a.name)
		}
	}
	if e.Sequence < 1 {
		return fmt.Errorf("%w: attribute sequence must be at least 1", ErrMalformed)
	}
	if e.ID != ID(e.Source, e.Subject, e.Sequence) {
		return fmt.Errorf("%w: attribute id is not source/subject/sequence", ErrMalformed)
	}
	if !clock.Acceptable(e.Time) {
		return fmt.Errorf("%w: attribute time is missing or out of range", ErrMalformed)
	}
	if len(e.Data) > 0 && e.Data[0] != '{' {
		return fmt.Errorf("%w: data must be a JSON object", ErrMalformed)
	}
	return nil
}

// Handler handles one delivery of an event. Deliveries repeat and come out of order, so it must be idempotent by the
// event's ID. It returns nil when the event is handled, Retry(err) when it can succeed later, and any other error when
// it can never succeed: the event is then dead-lettered.
type Handler func(ctx context.Context, e Event) error

// ByType handles events by their types. It ignores an event whose type has no handler.
func ByType(handlers map[string]Handler) Handler {
	return func(ctx context.Context, e Event) error {
		if handle := handlers[e.Type]; handle != nil {
			return handle(ctx, e)
		}
		return nil
	}
}

// PanicError means that a handler panicked.
type PanicError struct {
	Value any    // the value of the panic
	Stack []byte // the stack at the panic
}

// Error returns the value of the panic as text.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Protect turns a panic of a handler into a final error, a *PanicError, so that the event is dead-lettered. Another
// delivery would panic again and delay the events after it.
func Protect(h Handler) Handler {
	return func(ctx context.Context, e Event) (err error) {
		defer func() {
			if value := recover(); value != nil {
				err = Drop(&PanicError{Value: value, Stack: debug.Stack()})
			}
		}()
		return h(ctx, e)
	}
}

// Stack returns a log attribute with the stack of the handler's panic, or none if the error is not a panic.
func Stack(err error) []any {
	var p *PanicError
	if errors.As(err, &p) {
		return []any{"stack", string(p.Stack)}
	}
	return nil
}

type retryError struct{ err error }

func (r retryError) Error() string   { return "retry: " + r.err.Error() }
func (r retryError) Unwrap() error   { return r.err }
func (r retryError) Temporary() bool { return true }

type dropError struct{ err error }

func (d dropError) Error() string { return "drop: " + d.err.Error() }
func (d dropError) Unwrap() error { return d.err }

// Retry marks err as temporary, so that the event is delivered again.
func Retry(err error) error { return retryError{err} }

// Drop marks err as final for this event, whatever it wraps.
func Drop(err error) error { return dropError{err} }

// Retriable reports whether an error of a Handler asks for another delivery. Errors of calls (an unknown write, an
// unreachable service) have a method Temporary() bool for this. A cancelled or expired context counts as temporary.
func Retriable(err error) bool {
	var dropped dropError
	if err == nil || errors.As(err, &dropped) {
		return false
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}
