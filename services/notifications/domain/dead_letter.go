package domain

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/id"
)

// PayloadMax is the largest message, in bytes, that is kept whole and can be replayed. Our events have about 1 KiB.
const PayloadMax = 64 << 10

// attributeMax bounds what is kept of an attribute of a message that may be anything, in bytes.
const attributeMax = 200

// LetterStatus is what became of a dead letter.
type LetterStatus string

// A dead letter is open until it was replayed with success or discarded with a reason; both are final.
const (
	LetterOpen      LetterStatus = "open"
	LetterReplayed  LetterStatus = "replayed"
	LetterDiscarded LetterStatus = "discarded"
)

var (
	// ErrLetterReplayed refuses to discard what was replayed.
	ErrLetterReplayed = errors.New("the dead letter was replayed")
	// ErrLetterDiscarded refuses to replay what was discarded.
	ErrLetterDiscarded = errors.New("the dead letter was discarded")
	// ErrOperation refuses an operation whose id was used for another one.
	ErrOperation = errors.New("the operation id was used for another request")
)

// Letter is a message that could not be handled, as far as it can be understood.
type Letter struct {
	// ID is the same for every delivery of the same message.
	ID string `json:"id"`
	// Consumer is the app that could not handle it.
	Consumer string `json:"consumer,omitempty"`
	// Topic is where the message was published, "" if it does not say.
	Topic string `json:"topic,omitempty"`
	// EventID, Type and Subject are what the message says of itself, true or not.
	EventID string `json:"eventId,omitempty"`
	Type    string `json:"type,omitempty"`
	Subject string `json:"subject,omitempty"`
	// CorrelationID and TraceParent tie it to what caused it, if they are of their form.
	CorrelationID string `json:"correlationId,omitempty"`
	TraceParent   string `json:"traceparent,omitempty"`
	// Reason says why it cannot be handled.
	Reason string `json:"reason"`
	// Size is the length of the message in bytes.
	Size int `json:"size"`
	// Payload is the message, up to PayloadMax bytes of it.
	Payload []byte `json:"payload"`
}

// Exhausted says of a message that has nothing wrong with it what is known of the attempts to handle it.
func (l *Letter) Exhausted(attempts int, last string) {
	if l.Reason == exhausted && attempts > 0 {
		l.Reason = clip(fmt.Sprintf("not handled within %d attempts: %s", attempts, last))
	}
}

// Truncated reports whether Payload is only the beginning of the message, which then cannot be replayed.
func (l Letter) Truncated() bool { return l.Size > len(l.Payload) }

// exhausted is the reason of a message that has nothing wrong with it.
const exhausted = "not handled within the attempts allowed"

// envelope is what can be read of any JSON object, whatever else it holds.
type envelope map[string]json.RawMessage

// text is a string member, "" if it is missing or something else, cut to attributeMax.
func (e envelope) text(name string) string {
	var s string
	if json.Unmarshal(e[name], &s) != nil {
		return ""
	}
	return clip(s)
}

// clip makes a text of unknown origin fit to be stored and shown.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= attributeMax {
		return s
	}
	end := attributeMax
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// ReadLetter understands a message as far as it can; it accepts any bytes. A message that the sidecar could not read
// as a CloudEvent comes wrapped in one of its own as data_base64, and is unwrapped.
func ReadLetter(body []byte) Letter {
	var l Letter
	outer := parse(body)
	l.Topic = outer.text("topic")
	if inner, ok := outer.wrapped(); ok {
		body = inner
		outer = parse(body)
		if topic := outer.text("topic"); topic != "" {
			l.Topic = topic
		}
	}
	l.EventID, l.Type, l.Subject = outer.text("id"), outer.text("type"), outer.text("subject")
	l.CorrelationID, l.TraceParent = outer.text("correlationid"), outer.text("traceparent")
	l.Size = len(body)
	l.Payload = append([]byte{}, body[:min(len(body), PayloadMax)]...)
	e, err := event.Parse(body)
	if err == nil {
		l.ID = LetterID(e)
		l.Topic = e.Source
		err = event.Protect(readable)(context.Background(), e)
	} else {
		sum := sha256.Sum256(body)
		l.ID = id.Derive("dead-letter", "content", string(sum[:]))
	}
	l.Reason = Reason(err)
	return l
}

// readable tells why an event cannot be read. What dies of it must not kill those who look at the corpse: hence Protect.
func readable(_ context.Context, e event.Event) error {
	_, err := Read(e)
	return err
}

// LetterID is the id of the dead letter of an event that could be parsed.
func LetterID(e event.Event) string { return id.Derive("dead-letter", "event", e.ID) }

// Reason says why a message is dead, from the error that handling it ends with, if any.
func Reason(err error) string {
	if err == nil || errors.Is(err, ErrSilent) || errors.Is(err, ErrUnknownType) {
		return exhausted
	}
	return clip(strings.TrimPrefix(err.Error(), "drop: ")) // what the road makes of it is nobody's concern here
}

func parse(body []byte) envelope {
	var e envelope
	if json.Unmarshal(body, &e) != nil {
		return nil
	}
	return e
}

// wrapped is the message inside an envelope that the sidecar made because it could not read the message.
func (e envelope) wrapped() ([]byte, bool) {
	if _, own := e["data"]; own {
		return nil, false
	}
	var encoded string
	if json.Unmarshal(e["data_base64"], &encoded) != nil || encoded == "" {
		return nil, false
	}
	body, err := base64.StdEncoding.DecodeString(encoded)
	return body, err == nil
}

// ActionKind says what an Action was.
type ActionKind string

// What is done about a dead letter.
const (
	// ActionReceived: it was kept.
	ActionReceived ActionKind = "received"
	// ActionFailed: its event was handled again, in vain; Outcome says why.
	ActionFailed ActionKind = "replay_failed"
	// ActionReplayed: its event was handled again, with success.
	ActionReplayed ActionKind = "replayed"
	// ActionDiscarded: it was given up.
	ActionDiscarded ActionKind = "discarded"
)

// Action is something that was done about a dead letter: what, when, by whom and why.
type Action struct {
	// Operation identifies the request, so that its repeat is recognised.
	Operation string     `json:"operation"`
	Kind      ActionKind `json:"kind"`
	At        time.Time  `json:"at"`
	// By is the id of a user, or the app id of the service itself.
	By string `json:"by"`
	// Reason is why, in the words of who did it.
	Reason string `json:"reason,omitempty"`
	// Outcome is what came of it, if that was not success.
	Outcome string `json:"outcome,omitempty"`
}

// historyMax bounds the actions that a dead letter remembers: its first and the newest others.
const historyMax = 50

// DeadLetter is a message that could not be handled, and what was done about it.
type DeadLetter struct {
	document.Root
	Letter
	// Entry is the entry of the registry that announces this document; others for the same letter are void.
	Entry     string       `json:"entry"`
	FirstSeen time.Time    `json:"firstSeen"`
	Status    LetterStatus `json:"status"`
	// Attempts counts the known attempts to handle the message, at least one; LastAttempt is when the latest ended.
	Attempts    int       `json:"attempts"`
	LastAttempt time.Time `json:"lastAttempt"`
	// LastFailure is why the latest attempt failed.
	LastFailure string `json:"lastFailure,omitempty"`
	// History is what was done about it, oldest first; Forgotten counts what it no longer holds.
	History   []Action `json:"history"`
	Forgotten int      `json:"forgotten,omitempty"`
	// Note is why it was discarded.
	Note      string    `json:"note,omitempty"`
	DecidedAt time.Time `json:"decidedAt,omitzero"`
	DecidedBy string    `json:"decidedBy,omitempty"`
}

// Receive notes a dead letter after a number of known attempts; one that is known stays as it is, whatever was decided
// about it.
func (d *DeadLetter) Receive(l Letter, entry string, attempts int, now time.Time) error {
	if d.Exists() {
		return document.ErrUnchanged
	}
	d.Letter, d.Entry, d.FirstSeen, d.Status = l, entry, now.UTC(), LetterOpen
	d.Attempts, d.LastAttempt, d.LastFailure = max(attempts, 1), d.FirstSeen, l.Reason
	d.remember(Action{Operation: entry, Kind: ActionReceived, At: d.FirstSeen, By: l.Consumer, Outcome: l.Reason})
	return nil
}

// Done is the action of an operation, if it is remembered.
func (d *DeadLetter) Done(operation string) (Action, bool) {
	for _, a := range d.History {
		if a.Operation == operation {
			return a, true
		}
	}
	return Action{}, false
}

// Failed notes an attempt in vain; a.Outcome says why. The letter stays open. A repeat of the operation, and an attempt
// at a letter about which is decided, change nothing.
func (d *DeadLetter) Failed(a Action) error {
	a.Kind, a.Outcome = ActionFailed, clip(a.Outcome)
	if err := d.refuse(a, LetterOpen, LetterReplayed, LetterDiscarded); err != nil {
		return err
	}
	d.attempted(a)
	d.LastFailure = a.Outcome
	return nil
}

// Replayed notes that the message was handled after all. Doing so again changes nothing. Errors: ErrLetterDiscarded,
// ErrOperation, document.ErrNotFound.
func (d *DeadLetter) Replayed(a Action) error {
	a.Kind, a.Outcome = ActionReplayed, ""
	if err := d.refuse(a, LetterOpen, LetterReplayed); err != nil {
		return err
	}
	d.attempted(a)
	d.LastFailure = ""
	d.decide(LetterReplayed, a)
	return nil
}

// Discard gives the message up for a.Reason. Doing so again changes nothing, not even the note. Errors:
// ErrLetterReplayed, ErrOperation, document.ErrNotFound.
func (d *DeadLetter) Discard(a Action) error {
	a.Kind, a.Outcome = ActionDiscarded, ""
	if err := d.refuse(a, LetterOpen, LetterDiscarded); err != nil {
		return err
	}
	d.remember(a)
	d.Note = a.Reason
	d.decide(LetterDiscarded, a)
	return nil
}

// refuse tells why an action has nothing to do, in an open letter about which it was not done before; fits are the
// states in which that is no error.
func (d *DeadLetter) refuse(a Action, fits ...LetterStatus) error {
	if !d.Exists() {
		return document.ErrNotFound
	}
	if done, ok := d.Done(a.Operation); ok {
		if done.Reason != a.Reason || (done.Kind == ActionDiscarded) != (a.Kind == ActionDiscarded) {
			return ErrOperation
		}
		return document.ErrUnchanged
	}
	switch {
	case d.Status == LetterOpen:
		return nil
	case slices.Contains(fits, d.Status):
		return document.ErrUnchanged
	case d.Status == LetterDiscarded:
		return ErrLetterDiscarded
	}
	return ErrLetterReplayed
}

func (d *DeadLetter) attempted(a Action) {
	d.Attempts++
	d.LastAttempt = a.At.UTC()
	d.remember(a)
}

func (d *DeadLetter) remember(a Action) {
	a.At = a.At.UTC()
	d.History = append(d.History, a)
	if len(d.History) > historyMax {
		d.History = slices.Delete(d.History, 1, 2)
		d.Forgotten++
	}
}

func (d *DeadLetter) decide(s LetterStatus, a Action) {
	d.Status, d.DecidedBy, d.DecidedAt = s, a.By, a.At.UTC()
}

// Event is the event to handle again. The error says why that is not possible.
func (l Letter) Event() (event.Event, error) {
	if l.Truncated() {
		return event.Event{}, fmt.Errorf("%w: of %d bytes only %d were kept", event.ErrMalformed, l.Size, len(l.Payload))
	}
	return event.Parse(l.Payload)
}
