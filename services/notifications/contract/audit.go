package contract

import (
	"encoding/json"
	"time"

	"caravan/internal/audit"
	"caravan/internal/deadletter"
)

// PathAudit takes an audit.Request and answers [AuditPage].
const PathAudit = "/internal/audit"

// The invariants that the audit checks.
const (
	// InvariantOneEntry: an event has at most one entry in the inbox of its user.
	InvariantOneEntry = "one-inbox-entry-per-event"
	// InvariantDelivery: every archived entry has a guard, which prevents a second notification of its event.
	InvariantDelivery = "archived-entry-guarded"
	// InvariantSegments: the archive of an inbox is complete and no entry was lost from it.
	InvariantSegments = "inbox-complete"
	// InvariantEntry: an entry belongs to an event that users are notified of.
	InvariantEntry = "inbox-entry-notifiable"
	// InvariantLetter: a dead letter is open, or was replayed or discarded once.
	InvariantLetter = deadletter.InvariantDecidedOnce
)

// The invariants of messages outside the app, checked if a channel for them is on.
const (
	// InvariantMessage: an event has a message to its person by each channel by which they want its kind, or a later status has
	// taken its place.
	InvariantMessage = "event-has-its-messages"
	// InvariantOneMessage: an event has at most one message to a person by a channel.
	InvariantOneMessage = "one-message-per-event"
	// InvariantThread: a message is in the document of its person, channel and subject.
	InvariantThread = "message-in-its-thread"
	// InvariantMessageState: the state of a message agrees with its claim, its attempts and its times.
	InvariantMessageState = "message-state-consistent"
	// InvariantSentOnce: a message is sent once, and again only if staff ask for it or an outcome is not known.
	InvariantSentOnce = "message-sent-once"
	// InvariantMessageOrder: a status is not sent after a later one of the same subject, and only a later one supersedes it.
	InvariantMessageOrder = "messages-in-order"
	// InvariantWishes: a message is sent or suppressed by the wishes of its person, as far as these are known.
	InvariantWishes = "message-by-wishes"
	// InvariantMessageEnd: a message that is due is being sent.
	InvariantMessageEnd = "message-comes-to-an-end"
)

// AuditPage is one page of the audit. Its counts are users, deliveries, archived, the dead letters by status: letters.open,
// letters.replayed and letters.discarded, and the messages outside the app by channel and state: messages.email.sent.
type AuditPage struct {
	audit.Page
	// Messages are the events that have a message outside the app. One may occur several times.
	Messages []Delivery `json:"messages,omitempty"`
	// Deliveries are the events that reached an inbox. Over all pages of an audit at rest each occurs once.
	Deliveries []Delivery `json:"deliveries"`
	// Cursors are, on the first page, the places up to which the feeds of [Producers] were pulled; one that never was is
	// absent.
	Cursors map[string]string `json:"cursors,omitempty"`
}

// Delivery says that an event is in the inbox of a user, or has a message to one.
type Delivery struct {
	EventID    string    `json:"eventId"`
	UserID     string    `json:"userId"`
	OccurredAt time.Time `json:"occurredAt"`
}

// PathEntries takes [EntriesRequest] and answers [Entries].
const PathEntries = "/internal/audit-entries"

// MaxEntries bounds the events of one [EntriesRequest].
const MaxEntries = 500

// EntriesRequest asks whether events reached the inboxes of their users, and whether they have their messages outside the app.
type EntriesRequest struct {
	Events []EventRef `json:"events" validate:"max=500,dive"`
	// Begin is set, with no events, before the first events of an audit. It is repeated until it is answered without More.
	Begin bool `json:"begin,omitempty"`
	// More says that Begin was asked before in this audit.
	More bool `json:"more,omitempty"`
}

// EventRef names an event, its user and its time. UserID is empty for an event to all who have a permission: then notifications
// knows whom it decided to reach.
type EventRef struct {
	EventID    string    `json:"eventId" validate:"required,max=300"`
	UserID     string    `json:"userId,omitempty" validate:"max=64"`
	OccurredAt time.Time `json:"occurredAt" validate:"time"`
	// Type, Subject and Data are those of an event whose type is in Entries.Types.
	Type    string          `json:"type,omitempty" validate:"max=100"`
	Subject string          `json:"subject,omitempty" validate:"max=200"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// Entries answers an [EntriesRequest], in its order.
type Entries struct {
	Entries []EntryState `json:"entries"`
	// Results are those about the messages of the events.
	audit.Results
	// Types answers Begin: the types of the events that may have messages outside the app. More asks for Begin once more.
	Types []string `json:"types,omitempty"`
	More  bool     `json:"more,omitempty"`
}

// EntryState is where an event was found.
type EntryState struct {
	// Times is how often it is in the inbox. For an event without a user it is 1 if each user that it is for has it once.
	Times int `json:"times"`
	// Letter is the status of its dead letter, if it has one and is in no inbox.
	Letter string `json:"letter,omitempty"`
}

// Statuses of dead letters.
const (
	LetterOpen      = string(deadletter.StatusOpen)
	LetterReplayed  = string(deadletter.StatusReplayed)
	LetterDiscarded = string(deadletter.StatusDiscarded)
)
