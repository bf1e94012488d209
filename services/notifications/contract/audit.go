package contract

import (
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

// AuditPage is one page of the audit. Its counts are users, deliveries, archived, and the dead letters by status:
// letters.open, letters.replayed and letters.discarded.
type AuditPage struct {
	audit.Page
	// Deliveries are the events that reached an inbox. Over all pages of an audit at rest each occurs once.
	Deliveries []Delivery `json:"deliveries"`
	// Cursors are, on the first page, the places up to which the feeds of [Producers] were pulled; one that never was is
	// absent.
	Cursors map[string]string `json:"cursors,omitempty"`
}

// Delivery says that an event is in the inbox of a user.
type Delivery struct {
	EventID    string    `json:"eventId"`
	UserID     string    `json:"userId"`
	OccurredAt time.Time `json:"occurredAt"`
}

// PathEntries takes [EntriesRequest] and answers [Entries].
const PathEntries = "/internal/audit-entries"

// MaxEntries bounds the events of one [EntriesRequest].
const MaxEntries = 500

// EntriesRequest asks whether events reached the inboxes of their users.
type EntriesRequest struct {
	Events []EventRef `json:"events" validate:"max=500,dive"`
}

// EventRef names an event, its user and its time.
type EventRef struct {
	EventID    string    `json:"eventId" validate:"required,max=300"`
	UserID     string    `json:"userId" validate:"required,max=64"`
	OccurredAt time.Time `json:"occurredAt" validate:"time"`
}

// Entries answers an [EntriesRequest], in its order.
type Entries struct {
	Entries []EntryState `json:"entries"`
}

// EntryState is where an event was found.
type EntryState struct {
	// Times is how often it is in the inbox.
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
