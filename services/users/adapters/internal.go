package adapters

import (
	"net/http"

	"caravan/internal/audit"
	"caravan/internal/request"
)

// keySet answers GET /.well-known/jwks.json, and POST /internal/keys for those who can only post. Verifiers may keep it
// for five minutes: a new key is published well before it signs.
func (h *handlers) keySet(_ *http.Request) (request.Answer, error) {
	return request.OK(h.keys.KeySet()).With("Cache-Control", "public, max-age=300"), nil
}

// audit answers POST /internal/audit.
func (h *handlers) audit(r *http.Request) (request.Answer, error) {
	var body audit.Request
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	outcome, err := h.accounts.Audit(r.Context(), body.Cursor)
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(outcome), nil
}
