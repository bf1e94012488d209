package rest

import (
	"io"
	"log/slog"
	"net/http"

	"caravan/internal/audit"
	"caravan/internal/request"
	"caravan/services/notifications/contract"
)

// PathDeadLetters is where the sidecar delivers dead letters (dapr/resources/subscriptions.yaml).
const PathDeadLetters = "/events/dead"

// delivery is the answer to a delivery of the sidecar
// (https://docs.dapr.io/reference/api/pubsub_api/#expected-http-response).
type delivery struct {
	Status string `json:"status"`
}

// ReceiveDeadLetter answers deliveries of the topic of dead letters. It takes any body, as what could not be parsed
// ends there too; hence it is not behind the subscriber, which drops such messages. It never answers DROP: there is no
// place behind this one.
func (h *Handlers) ReceiveDeadLetter(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = h.app.ReceiveDeadLetter(r.Context(), body)
	}
	if err != nil {
		slog.WarnContext(r.Context(), "dead letter will be delivered again", "error", err)
		request.Respond(w, http.StatusOK, delivery{Status: "RETRY"})
		return nil
	}
	request.Respond(w, http.StatusOK, delivery{Status: "SUCCESS"})
	return nil
}

// Audit answers POST /internal/audit.
func (h *Handlers) Audit(w http.ResponseWriter, r *http.Request) error {
	var body audit.Request
	if err := request.Decode(w, r, &body); err != nil {
		return err
	}
	page, err := h.app.Audit(r.Context(), body.Cursor)
	if err != nil {
		return err
	}
	request.Respond(w, http.StatusOK, page)
	return nil
}

// maxEntriesRequest has room for the largest request: contract.MaxEntries events
// with the longest ids, well above the limit of a public body.
const maxEntriesRequest = 512 << 10

// AuditEntries answers POST /internal/audit-entries.
func (h *Handlers) AuditEntries(w http.ResponseWriter, r *http.Request) error {
	var body contract.EntriesRequest
	if err := request.Decode(w, r, &body, request.WithLimit(maxEntriesRequest)); err != nil {
		return err
	}
	entries, err := h.app.Entries(r.Context(), body)
	if err != nil {
		return err
	}
	request.Respond(w, http.StatusOK, entries)
	return nil
}
