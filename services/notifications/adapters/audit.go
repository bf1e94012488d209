package adapters

import (
	"net/http"

	"caravan/internal/audit"
	"caravan/internal/request"
	"caravan/services/notifications/contract"
)

// auditPage answers POST /internal/audit.
func (a API) auditPage(w http.ResponseWriter, r *http.Request) error {
	var body audit.Request
	if err := request.Decode(w, r, &body); err != nil {
		return err
	}
	page, err := a.Audit.Page(r.Context(), body.Cursor)
	if err != nil {
		return err
	}
	request.Respond(w, http.StatusOK, page)
	return nil
}

// maxEntriesRequest has room for the largest request: contract.MaxEntries events
// with the longest ids, well above the limit of a public body.
const maxEntriesRequest = 512 << 10

// auditEntries answers POST /internal/audit-entries.
func (a API) auditEntries(w http.ResponseWriter, r *http.Request) error {
	var body contract.EntriesRequest
	if err := request.Decode(w, r, &body, request.WithLimit(maxEntriesRequest)); err != nil {
		return err
	}
	entries, err := a.Audit.Entries(r.Context(), body)
	if err != nil {
		return err
	}
	request.Respond(w, http.StatusOK, entries)
	return nil
}
