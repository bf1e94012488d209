package deadletter

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"caravan/internal/event"
	"caravan/internal/id"
)

// PayloadMax is the largest message in bytes that is kept whole and can be replayed. An event has about 1 KiB.
const PayloadMax = 64 << 10

// attributeMax limits a stored attribute of a message, in bytes, because a message may contain anything.
const attributeMax = 200

// Message is a message that could not be handled, as far as it can be parsed.
type Message struct {
	// ID is the same for each delivery of the same message.
	ID string `json:"id"`
	// Consumer is the app that could not handle it.
	Consumer string `json:"consumer,omitempty"`
	// Topic is where the message was published, or "" if the message does not say.
	Topic string `json:"topic,omitempty"`
	// EventID, Type and Subject are attributes of the message. They may be wrong.
	EventID string `json:"eventId,omitempty"`
	Type    string `json:"type,omitempty"`
	Subject string `json:"subject,omitempty"`
	// CorrelationID and TraceParent link the message to its cause, if they are valid.
	CorrelationID string `json:"correlationId,omitempty"`
	TraceParent   string `json:"traceparent,omitempty"`
	// Reason says why the message cannot be handled.
	Reason string `json:"reason"`
	// Size is the length of the message in bytes.
	Size int `json:"size"`
	// Payload is the message, up to PayloadMax bytes of it.
	Payload []byte `json:"payload"`
}

// Exhausted adds what is known about the attempts to handle a message that is valid.
func (l *Message) Exhausted(attempts int, last string) {
	if l.Reason == exhausted && attempts > 0 {
		l.Reason = clip(fmt.Sprintf("not handled within %d attempts: %s", attempts, last))
	}
}

// Truncated reports whether Payload is only the beginning of the message, which then cannot be replayed.
func (l Message) Truncated() bool { return l.Size > len(l.Payload) }

// exhausted is the reason of a valid message.
const exhausted = "not handled within the attempts allowed"

// envelope is any JSON object.
type envelope map[string]json.RawMessage

// text returns a string member, cut to attributeMax. It is "" if the member is missing or not a string.
func (e envelope) text(name string) string {
	var s string
	if json.Unmarshal(e[name], &s) != nil {
		return ""
	}
	return clip(s)
}

// clip makes a text of unknown origin safe to store and show.
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

// ReadMessage parses a message as far as possible; it accepts any bytes. The sidecar wraps a message that is not a
// CloudEvent in one, as data_base64; ReadMessage unwraps it. check, which may be nil, returns why a well-formed event can
// never be handled.
func ReadMessage(body []byte, check func(e event.Event) error) Message {
	var l Message
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
		l.ID = ID(e.ID)
		l.Topic = e.Source
		if check != nil { // if check panics, that is the reason
			err = event.Protect(func(_ context.Context, e event.Event) error { return check(e) })(context.Background(), e)
		}
	} else {
		sum := sha256.Sum256(body)
		l.ID = id.Derive("dead-letter", "content", string(sum[:]))
	}
	l.Reason = Reason(err)
	return l
}

// ID is the id of the dead letter of a well-formed event.
func ID(eventID string) string { return id.Derive("dead-letter", "event", eventID) }

// Reason says why a message is a dead letter. err is the error of its handler, if any.
func Reason(err error) string {
	if err == nil {
		return exhausted
	}
	return clip(strings.TrimPrefix(err.Error(), "drop: ")) // event.Drop adds the prefix for the delivery only
}

func parse(body []byte) envelope {
	var e envelope
	if json.Unmarshal(body, &e) != nil {
		return nil
	}
	return e
}

// wrapped returns the message in an envelope that the sidecar made for a message that is not a CloudEvent.
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

// Event returns the event to handle again. The error says why that is impossible.
func (l Message) Event() (event.Event, error) {
	if l.Truncated() {
		return event.Event{}, fmt.Errorf("%w: of %d bytes only %d were kept", event.ErrMalformed, l.Size, len(l.Payload))
	}
	return event.Parse(l.Payload)
}
