package domain

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
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
)

// Letter is a message that could not be handled, as far as it can be understood.
type Letter struct {
	// ID is the same for every delivery of the same message.
	ID string `json:"id"`
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
		_, err = Read(e)
	} else {
		sum := sha256.Sum256(body)
		l.ID = id.Derive("dead-letter", "content", string(sum[:]))
	}
	l.Reason = Reason(err)
	return l
}

// LetterID is the id of the dead letter of an event that could be parsed.
func LetterID(e event.Event) string { return id.Derive("dead-letter", "event", e.ID) }

// Reason says why a message is dead, from the error that handling it ends with, if any.
func Reason(err error) string {
	if err == nil || errors.Is(err, ErrSilent) || errors.Is(err, ErrUnknownType) {
		return exhausted
	}
	return clip(err.Error())
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

// DeadLetter is a message that could not be handled, and what staff decided about it.
type DeadLetter struct {
	document.Root
	Letter
	// Entry is the entry of the registry that announces this document; others for the same letter are void.
	Entry     string       `json:"entry"`
	FirstSeen time.Time    `json:"firstSeen"`
	Status    LetterStatus `json:"status"`
	// Note is why it was discarded.
	Note      string    `json:"note,omitempty"`
	DecidedAt time.Time `json:"decidedAt,omitzero"`
	DecidedBy string    `json:"decidedBy,omitempty"`
}

// Receive notes a dead letter; one that is known stays as it is, whatever was decided about it.
func (d *DeadLetter) Receive(l Letter, entry string, now time.Time) error {
	if d.Exists() {
		return document.ErrUnchanged
	}
	d.Letter, d.Entry, d.FirstSeen, d.Status = l, entry, now.UTC(), LetterOpen
	return nil
}

// Replayed notes that the message was handled after all. Doing so again changes nothing.
func (d *DeadLetter) Replayed(by string, now time.Time) error {
	switch {
	case !d.Exists():
		return document.ErrNotFound
	case d.Status == LetterReplayed:
		return document.ErrUnchanged
	case d.Status == LetterDiscarded:
		return ErrLetterDiscarded
	}
	d.decide(LetterReplayed, "", by, now)
	return nil
}

// Discard gives the message up. Doing so again changes nothing, not even the note.
func (d *DeadLetter) Discard(note, by string, now time.Time) error {
	switch {
	case !d.Exists():
		return document.ErrNotFound
	case d.Status == LetterDiscarded:
		return document.ErrUnchanged
	case d.Status == LetterReplayed:
		return ErrLetterReplayed
	}
	d.decide(LetterDiscarded, note, by, now)
	return nil
}

func (d *DeadLetter) decide(s LetterStatus, note, by string, now time.Time) {
	d.Status, d.Note, d.DecidedBy, d.DecidedAt = s, note, by, now.UTC()
}

// Event is the event to handle again. The error says why that is not possible.
func (l Letter) Event() (event.Event, error) {
	if l.Truncated() {
		return event.Event{}, fmt.Errorf("%w: of %d bytes only %d were kept", event.ErrMalformed, l.Size, len(l.Payload))
	}
	return event.Parse(l.Payload)
}
