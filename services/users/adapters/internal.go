package adapters

import (
	"net/http"

	"caravan/internal/audit"
	"caravan/internal/request"
	"caravan/services/users/contract"
)

// keySet answers GET /.well-known/jwks.json, and POST /internal/keys for those who can only post. Verifiers may keep it
// for five minutes: a new key is published well before it signs.
func (h *handlers) keySet(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "public, max-age=300")
	request.Respond(w, http.StatusOK, h.keys.KeySet())
	return nil
}

// contacts answers POST /internal/contacts.
func (h *handlers) contacts(w http.ResponseWriter, r *http.Request) error {
	var body contract.ContactsRequest
	if err := request.Decode(w, r, &body); err != nil {
		return err
	}
	found, err := h.accounts.Contacts(r.Context(), body.UserIDs)
	if err != nil {
		return err
	}
	request.Respond(w, http.StatusOK, contract.Contacts{Contacts: found})
	return nil
}

// audit answers POST /internal/audit.
func (h *handlers) audit(w http.ResponseWriter, r *http.Request) error {
	var body audit.Request
	if err := request.Decode(w, r, &body); err != nil {
		return err
	}
	outcome, err := h.accounts.Audit(r.Context(), body.Cursor)
	if err != nil {
		return err
	}
	request.Respond(w, http.StatusOK, outcome)
	return nil
}
