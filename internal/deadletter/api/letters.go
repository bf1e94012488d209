package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"caravan/internal/clock"
	"caravan/internal/deadletter"
	"caravan/internal/problem"
	"caravan/internal/request"
)

// payloadShown is how much of a dead letter's message a list shows, in bytes.
const payloadShown = 2048

// DeadLetter is a message that could not be handled, as an item of a list.
type DeadLetter struct {
	ID            string `json:"id"`
	Consumer      string `json:"consumer"`
	Topic         string `json:"topic"`
	EventID       string `json:"eventId,omitempty"`
	Type          string `json:"type,omitempty"`
	Subject       string `json:"subject,omitempty"`
	CorrelationID string `json:"correlationId,omitempty"`
	// Reason says why it could not be handled.
	Reason    string    `json:"reason"`
	FirstSeen time.Time `json:"firstSeen"`
	// Status is open, replayed or discarded.
	Status string `json:"status"`
	// Attempts counts the known attempts to handle it; LastFailure says why the latest failed.
	Attempts      int       `json:"attempts"`
	LastAttemptAt time.Time `json:"lastAttemptAt,omitzero"`
	LastFailure   string    `json:"lastFailure,omitempty"`
	// Payload is the message as text, in a list at most its first 2 KiB; Size is its whole length in bytes.
	Payload          string `json:"payload"`
	PayloadTruncated bool   `json:"payloadTruncated"`
	Size             int    `json:"size"`
	// Note is why it was discarded. DecidedAt and DecidedBy say when and by whom it was replayed or discarded.
	Note      string    `json:"note,omitempty"`
	DecidedAt time.Time `json:"decidedAt,omitzero"`
	DecidedBy string    `json:"decidedBy,omitempty"`
}

// DeadLetterDetail is one dead letter with everything that is known about it.
type DeadLetterDetail struct {
	DeadLetter
	// PayloadEncoding is text, or base64 for a message that is not UTF-8.
	PayloadEncoding string `json:"payloadEncoding"`
	// Event is the message if it is one of our events.
	Event json.RawMessage `json:"event,omitempty"`
	// History lists what was done to it, oldest first. Forgotten counts actions that are no longer listed.
	History   []Action `json:"history"`
	Forgotten int      `json:"forgotten,omitempty"`
}

// Action is one step in the history of a dead letter.
type Action struct {
	Kind string    `json:"kind"`
	At   time.Time `json:"at"`
	// By is the id of a user, or the name of the service itself.
	By      string `json:"by"`
	Reason  string `json:"reason,omitempty"`
	Outcome string `json:"outcome,omitempty"`
}

type (
	replayOne struct {
		Reason string `json:"reason,omitempty" validate:"line,max=500"`
	}
	discardOne struct {
		Reason string `json:"reason" validate:"required,line,max=500"`
	}
)

// list answers GET /v1/ops/dead-letters, newest first.
func (a api) list(r *http.Request, _ string) (request.Answer, error) {
	return request.List(r, func(cursor string, limit int) ([]*deadletter.Letter, string, error) {
		filter, err := letterFilter(r)
		if err != nil {
			return nil, "", err
		}
		return a.queue.List(r.Context(), filter, cursor, limit)
	}, showLetter)
}

// letterFilter reads the filter from the query.
func letterFilter(r *http.Request) (deadletter.Filter, error) {
	q := r.URL.Query()
	f := filter{Consumer: q.Get("consumer"), Topic: q.Get("topic"), Type: q.Get("type"), Reason: q.Get("reason")}
	var wrong []problem.FieldError
	for name, into := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		at, err := clock.Parse(text)
		if err != nil {
			wrong = append(wrong, problem.FieldError{Field: name, Code: "time", Message: err.Error() + "; a + in it is written %2B"})
		}
		*into = at
	}
	status := deadletter.Status(q.Get("status"))
	switch status {
	case "", deadletter.StatusOpen, deadletter.StatusReplayed, deadletter.StatusDiscarded:
	default:
		wrong = append(wrong, problem.FieldError{Field: "status", Code: "oneof", Message: "must be one of open, replayed, discarded"})
	}
	if len(wrong) > 0 {
		return deadletter.Filter{}, problem.Invalid(wrong...)
	}
	if err := request.Validate(&f); err != nil {
		return deadletter.Filter{}, err
	}
	out := f.domain()
	out.Status = status
	return out, nil
}

// show answers GET /v1/ops/dead-letters/{id}.
func (a api) show(r *http.Request, _ string) (request.Answer, error) {
	letter, err := a.queue.Show(r.Context(), r.PathValue("id"))
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(detail(letter)), nil
}

// replay answers POST /v1/ops/dead-letters/{id}/replay {reason}; the body may be left out.
func (a api) replay(r *http.Request, by string) (request.Answer, error) {
	in, err := instruction(r, by)
	if err != nil {
		return request.Answer{}, err
	}
	var body replayOne
	if err := request.DecodeOptional(r, &body); err != nil {
		return request.Answer{}, err
	}
	in.Reason = body.Reason
	letter, err := a.queue.Replay(r.Context(), r.PathValue("id"), in)
	if err != nil {
		return request.Answer{}, letterProblem(err)
	}
	return request.OK(showLetter(letter)), nil
}

// discard answers POST /v1/ops/dead-letters/{id}/discard {reason}.
func (a api) discard(r *http.Request, by string) (request.Answer, error) {
	in, err := instruction(r, by)
	if err != nil {
		return request.Answer{}, err
	}
	var body discardOne
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	in.Reason = body.Reason
	letter, err := a.queue.Discard(r.Context(), r.PathValue("id"), in)
	if err != nil {
		return request.Answer{}, letterProblem(err)
	}
	return request.OK(showLetter(letter)), nil
}

// instruction returns who asks for an action, and with which Idempotency-Key, if any.
func instruction(r *http.Request, by string) (deadletter.Instruction, error) {
	key, err := request.OptionalIdempotencyKey(r)
	return deadletter.Instruction{By: by, Key: key}, err
}

func letterProblem(err error) error {
	var unreplayable *deadletter.UnreplayableError
	switch {
	case errors.Is(err, deadletter.ErrDiscarded):
		return problem.Conflict("dead-letter-discarded", "The dead letter was discarded and cannot be replayed.")
	case errors.Is(err, deadletter.ErrReplayed):
		return problem.Conflict("dead-letter-replayed", "The dead letter was replayed and cannot be discarded.")
	case errors.Is(err, deadletter.ErrOperation):
		return problem.ReusedKey()
	case errors.As(err, &unreplayable):
		return problem.Unprocessable("dead-letter-unreplayable", unreplayable.Error())
	}
	return err
}

func showLetter(d *deadletter.Letter) DeadLetter {
	shown := d.Payload[:min(len(d.Payload), payloadShown)]
	return DeadLetter{
		ID: d.ID, Consumer: d.Consumer, Topic: d.Topic, EventID: d.EventID, Type: d.Type, Subject: d.Subject,
		CorrelationID: d.CorrelationID, Reason: d.Reason, FirstSeen: d.FirstSeen, Status: string(d.Status),
		Attempts: d.Attempts, LastAttemptAt: d.LastAttempt, LastFailure: d.LastFailure,
		Payload: strings.ToValidUTF8(string(shown), "\uFFFD"), PayloadTruncated: d.Size > len(shown), Size: d.Size,
		Note: d.Note, DecidedAt: d.DecidedAt, DecidedBy: d.DecidedBy,
	}
}

func detail(d *deadletter.Letter) DeadLetterDetail {
	out := DeadLetterDetail{DeadLetter: showLetter(d), PayloadEncoding: "text", History: make([]Action, len(d.History)), Forgotten: d.Forgotten}
	out.Payload, out.PayloadTruncated = string(d.Payload), d.Truncated()
	if !utf8.Valid(d.Payload) {
		out.Payload, out.PayloadEncoding = base64.StdEncoding.EncodeToString(d.Payload), "base64"
	}
	if _, err := d.Message.Event(); err == nil {
		out.Event = json.RawMessage(d.Payload)
	}
	for i, a := range d.History {
		out.History[i] = Action{Kind: string(a.Kind), At: a.At, By: a.By, Reason: a.Reason, Outcome: a.Outcome}
	}
	return out
}
