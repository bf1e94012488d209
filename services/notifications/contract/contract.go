// Package contract is what other programs may know of the notifications service: its name and the audit by which
// orders checks that each of its facts reached its user once.
package contract

// App is the Dapr app id of the notifications service.
const App = "notifications"

// DeadLetterTopic is where the sidecar puts the events that notifications could not handle.
const DeadLetterTopic = "notifications.dead"

// PathAudit takes [Audit] and answers [AuditPage].
const PathAudit = "/internal/audit"

// The invariants that the audit checks.
const (
	// InvariantOneEntry: an event has exactly one entry in the inbox of its user.
	InvariantOneEntry = "notifications.one_entry_per_event"
	// InvariantDelivery: every archived entry has the guard that keeps its event from being told again.
	InvariantDelivery = "notifications.delivery"
	// InvariantSegments: the archive of an inbox is complete and no entry was lost from it.
	InvariantSegments = "notifications.segments"
	// InvariantEntry: an entry tells of an event that users are told of.
	InvariantEntry = "notifications.entry"
)

// Audit asks for one page of the audit; an empty cursor starts it.
type Audit struct {
	Cursor string `json:"cursor,omitempty"`
}

// AuditPage is one page of the audit. Counts of all pages are added by their name: users, deliveries, archived.
type AuditPage struct {
	Findings []Finding        `json:"findings"`
	Counts   map[string]int64 `json:"counts"`
	// Deliveries are the events that reached an inbox. Over all pages of an audit at rest each occurs once.
	Deliveries []Delivery `json:"deliveries"`
	// Next is empty on the last page.
	Next string `json:"next,omitempty"`
}

// Finding is one violated invariant; it holds no personal data.
type Finding struct {
	Invariant string `json:"invariant"`
	Key       string `json:"key"`
	Detail    string `json:"detail"`
}

// Delivery says that an event is in the inbox of a user.
type Delivery struct {
	EventID string `json:"eventId"`
	UserID  string `json:"userId"`
}
