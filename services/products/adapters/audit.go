package adapters

import (
	"net/http"

	"caravan/internal/audit"
	"caravan/internal/request"
	"caravan/services/products/app"
	"caravan/services/products/contract"
)

// auditAPI checks the invariants of products for others.
type auditAPI struct{ audit *app.Audit }

func (a auditAPI) page(r *http.Request) (request.Answer, error) {
	var in audit.Request
	if err := request.Decode(r, &in); err != nil {
		return request.Answer{}, err
	}
	found, err := a.audit.Page(r.Context(), in.Cursor)
	if err != nil {
		return request.Answer{}, describe(err)
	}
	return request.OK(found), nil
}

// maxHoldsRequest has room for the largest request: contract.MaxHoldsOrders
// orders of as many lines as an order may have, well above a public body's limit.
const maxHoldsRequest = 512 << 10

func (a auditAPI) holds(r *http.Request) (request.Answer, error) {
	var in contract.HoldsRequest
	if err := request.Decode(r, &in, request.WithLimit(maxHoldsRequest)); err != nil {
		return request.Answer{}, err
	}
	found, err := a.audit.Holds(r.Context(), in)
	if err != nil {
		return request.Answer{}, describe(err)
	}
	return request.OK(found), nil
}
