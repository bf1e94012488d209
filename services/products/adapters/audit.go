package adapters

import (
	"net/http"

	"caravan/internal/request"
	"caravan/services/products/app"
	"caravan/services/products/contract"
)

// auditAPI checks the invariants of products for others.
type auditAPI struct{ shop *app.Shop }

func (a auditAPI) page(w http.ResponseWriter, r *http.Request) error {
	var in contract.Audit
	if err := request.Decode(w, r, &in); err != nil {
		return err
	}
	found, err := a.shop.Audit(r.Context(), in)
	if err != nil {
		return describe(err)
	}
	request.Respond(w, http.StatusOK, found)
	return nil
}
