package deadletter

import (
	"errors"
	"slices"
	"time"

	"caravan/internal/document"
)

// Status is the state of a dead letter.
type Status string

// A dead letter is open until it was replayed successfully or discarded with a reason; both are final.
const (
	StatusOpen      Status = "open"
	StatusReplayed  Status = "replayed"
	StatusDiscarded Status = "discarded"
)

var (
	// ErrReplayed is returned when a replayed dead letter is discarded.
	ErrReplayed = errors.New("the dead letter was replayed")
	// ErrDiscarded is returned when a discarded dead letter is replayed.
	ErrDiscarded = errors.New("the dead letter was discarded")
	// ErrOperation is returned when the id of an operation was used for another one.
	ErrOperation = errors.New("the operation id was used for another request")
)

// ActionKind says what an Action was.
type ActionKind string

// The kinds of actions on a dead letter.
const (
	// ActionReceived: the letter was stored.
	ActionReceived ActionKind = "received"
	// ActionFailed: the event was handled again and failed; Outcome says why.
	ActionFailed ActionKind = "replay_failed"
	// ActionReplayed: the event was handled again, successfully.
	ActionReplayed ActionKind = "replayed"
	// ActionDiscarded: staff decided not to handle the event.
	ActionDiscarded ActionKind = "discarded"
)

// Action is one step in the history of a dead letter: what was done, when, by whom and why.
type Action struct {
	// Operation identifies the request, so that a repeat is recognised.
	Operation string     `json:"operation"`
	Kind      ActionKind `json:"kind"`
	At        time.Time  `json:"at"`
	// By is the id of a user, or the app id of the service itself.
	By string `json:"by"`
	// Reason is the reason that the user gave.
	Reason string `json:"reason,omitempty"`
	// Outcome is the result, if it was not success.
	Outcome string `json:"outcome,omitempty"`
}

// historyMax limits the history of a dead letter: it keeps the first action and the newest ones.
const historyMax = 50

// Letter is a message that could not be handled, and its history.
type Letter struct {
	document.Root
	Message
	// Entry is the list entry of this document. Other entries for the same letter are not valid.
	Entry     string    `json:"entry"`
	FirstSeen time.Time `json:"firstSeen"`
	Status    Status    `json:"status"`
	// Attempts counts the known attempts to handle the message, at least one; LastAttempt is when the latest ended.
	Attempts    int       `json:"attempts"`
	LastAttempt time.Time `json:"lastAttempt"`
	// LastFailure is why the latest attempt failed.
	LastFailure string `json:"lastFailure,omitempty"`
	// History lists the actions on the letter, oldest first. Forgotten counts actions that are no longer in it.
	History   []Action `json:"history"`
	Forgotten int      `json:"forgotten,omitempty"`
	// Note is why it was discarded.
	Note      string    `json:"note,omitempty"`
	DecidedAt time.Time `json:"decidedAt,omitzero"`
	DecidedBy string    `json:"decidedBy,omitempty"`
}

// Receive records a dead letter after a number of known attempts. A letter that is recorded already does not change.
func (d *Letter) Receive(l Message, entry string, attempts int, now time.Time) error {
	if d.Exists() {
		return document.ErrUnchanged
	}
	d.Message, d.Entry, d.FirstSeen, d.Status = l, entry, now.UTC(), StatusOpen
	d.Attempts, d.LastAttempt, d.LastFailure = max(attempts, 1), d.FirstSeen, l.Reason
	d.remember(Action{Operation: entry, Kind: ActionReceived, At: d.FirstSeen, By: l.Consumer, Outcome: l.Reason})
	return nil
}

// Done returns the action of an operation, if the history still has it.
func (d *Letter) Done(operation string) (Action, bool) {
	for _, a := range d.History {
		if a.Operation == operation {
			return a, true
		}
	}
	return Action{}, false
}

// Failed records a failed attempt; a.Outcome says why it failed. The letter stays open. A repeat of the operation, or an
// attempt at a letter that is not open, changes nothing.
func (d *Letter) Failed(a Action) error {
	a.Kind, a.Outcome = ActionFailed, clip(a.Outcome)
	if err := d.refuse(a, StatusOpen, StatusReplayed, StatusDiscarded); err != nil {
		return err
	}
	d.attempted(a)
	d.LastFailure = a.Outcome
	return nil
}

// Replayed records that the message was handled. A repeat changes nothing. Errors: ErrDiscarded, ErrOperation,
// document.ErrNotFound.
func (d *Letter) Replayed(a Action) error {
	a.Kind, a.Outcome = ActionReplayed, ""
	if err := d.refuse(a, StatusOpen, StatusReplayed); err != nil {
		return err
	}
	d.attempted(a)
	d.LastFailure = ""
	d.decide(StatusReplayed, a)
	return nil
}

// Discard closes the letter without handling it; a.Reason says why. A repeat changes nothing, not even the note.
// Errors: ErrReplayed, ErrOperation, document.ErrNotFound.
func (d *Letter) Discard(a Action) error {
	a.Kind, a.Outcome = ActionDiscarded, ""
	if err := d.refuse(a, StatusOpen, StatusDiscarded); err != nil {
		return err
	}
	d.remember(a)
	d.Note = a.Reason
	d.decide(StatusDiscarded, a)
	return nil
}

// refuse returns nil if the letter is open and the action is new. Otherwise it returns why not. If the letter has one
// of the states fits, that is document.ErrUnchanged.
func (d *Letter) refuse(a Action, fits ...Status) error {
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
	case d.Status == StatusOpen:
		return nil
	case slices.Contains(fits, d.Status):
		return document.ErrUnchanged
	case d.Status == StatusDiscarded:
		return ErrDiscarded
	}
	return ErrReplayed
}

func (d *Letter) attempted(a Action) {
	d.Attempts++
	d.LastAttempt = a.At.UTC()
	d.remember(a)
}

func (d *Letter) remember(a Action) {
	a.At = a.At.UTC()
	d.History = append(d.History, a)
	if len(d.History) > historyMax {
		d.History = slices.Delete(d.History, 1, 2)
		d.Forgotten++
	}
}

func (d *Letter) decide(s Status, a Action) {
	d.Status, d.DecidedBy, d.DecidedAt = s, a.By, a.At.UTC()
}
