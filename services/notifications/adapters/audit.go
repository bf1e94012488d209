package adapters

import (
	"net/http"

	"caravan/internal/audit"
	"caravan/internal/request"
	"caravan/services/notifications/contract"
)

// auditPage answers POST /internal/audit.
func (a API) auditPage(r *http.Request) (request.Answer, error) {
	var body audit.Request
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	page, err := a.Audit.Page(r.Context(), body.Cursor)
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(page), nil
}

// maxEntriesRequest has room for the largest request: contract.MaxEntries events
// with the longest ids, well above the limit of a public body.
const maxEntriesRequest = 512 << 10

// auditEntries answers POST /internal/audit-entries.
func (a API) auditEntries(r *http.Request) (request.Answer, error) {
	var body contract.EntriesRequest
	if err := request.Decode(r, &body, request.WithLimit(maxEntriesRequest)); err != nil {
		return request.Answer{}, err
	}
	entries, err := a.Audit.Entries(r.Context(), body)
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(entries), nil
}
