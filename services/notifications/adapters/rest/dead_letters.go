package rest

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"caravan/internal/page"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
	users "caravan/services/users/contract"
)

// payloadShown is how much of a dead letter's message a list shows, in bytes.
const payloadShown = 2048

// DeadLetter is a message that could not be handled, on the wire.
type DeadLetter struct {
	ID            string `json:"id"`
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
	// Payload is the message as text, at most its first 2 KiB; Size is its whole length in bytes.
	Payload          string `json:"payload"`
	PayloadTruncated bool   `json:"payloadTruncated"`
	Size             int    `json:"size"`
	// Note is why it was discarded; DecidedAt and DecidedBy tell of either decision.
	Note      string    `json:"note,omitempty"`
	DecidedAt time.Time `json:"decidedAt,omitzero"`
	DecidedBy string    `json:"decidedBy,omitempty"`
}

// discard is the body of a discard.
type discard struct {
	Reason string `json:"reason" validate:"required,max=500"`
}

// ListDeadLetters answers GET /v1/ops/dead-letters, newest first.
func (h *Handlers) ListDeadLetters(w http.ResponseWriter, r *http.Request) error {
	if _, err := service.Require(r, users.PermissionOpsRead); err != nil {
		return err
	}
	limit, cursor, err := request.Page(r)
	if err != nil {
		return err
	}
	list, next, err := h.app.ListDeadLetters(r.Context(), cursor, limit)
	if err != nil {
		return err
	}
	out := page.List[DeadLetter]{Items: make([]DeadLetter, len(list)), Next: next}
	for i, d := range list {
		out.Items[i] = showLetter(d)
	}
	request.Respond(w, http.StatusOK, out)
	return nil
}

// ReplayDeadLetter answers POST /v1/ops/dead-letters/{id}/replay.
func (h *Handlers) ReplayDeadLetter(w http.ResponseWriter, r *http.Request) error {
	caller, err := service.Require(r, users.PermissionOpsWrite)
	if err != nil {
		return err
	}
	letter, err := h.app.ReplayDeadLetter(r.Context(), r.PathValue("id"), caller.Subject)
	if err != nil {
		return letterProblem(err)
	}
	request.Respond(w, http.StatusOK, showLetter(letter))
	return nil
}

// DiscardDeadLetter answers POST /v1/ops/dead-letters/{id}/discard {reason}.
func (h *Handlers) DiscardDeadLetter(w http.ResponseWriter, r *http.Request) error {
	caller, err := service.Require(r, users.PermissionOpsWrite)
	if err != nil {
		return err
	}
	var body discard
	if err := request.Decode(w, r, &body); err != nil {
		return err
	}
	letter, err := h.app.DiscardDeadLetter(r.Context(), r.PathValue("id"), body.Reason, caller.Subject)
	if err != nil {
		return letterProblem(err)
	}
	request.Respond(w, http.StatusOK, showLetter(letter))
	return nil
}

func letterProblem(err error) error {
	var unreplayable *app.UnreplayableError
	switch {
	case errors.Is(err, domain.ErrLetterDiscarded):
		return problem.Conflict("dead-letter-discarded", "The dead letter was discarded and cannot be replayed.")
	case errors.Is(err, domain.ErrLetterReplayed):
		return problem.Conflict("dead-letter-replayed", "The dead letter was replayed and cannot be discarded.")
	case errors.As(err, &unreplayable):
		return problem.Unprocessable("dead-letter-unreplayable", unreplayable.Error())
	}
	return err
}

func showLetter(d *domain.DeadLetter) DeadLetter {
	shown := d.Payload[:min(len(d.Payload), payloadShown)]
	return DeadLetter{
		ID: d.ID, Topic: d.Topic, EventID: d.EventID, Type: d.Type, Subject: d.Subject,
		CorrelationID: d.CorrelationID, Reason: d.Reason, FirstSeen: d.FirstSeen, Status: string(d.Status),
		Payload: strings.ToValidUTF8(string(shown), "�"), PayloadTruncated: d.Size > len(shown), Size: d.Size,
		Note: d.Note, DecidedAt: d.DecidedAt, DecidedBy: d.DecidedBy,
	}
}
