package adapters

import (
	"fmt"
	"net/http"
	"time"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/token"
	"caravan/services/orders/app"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	users "caravan/services/users/contract"
)

// placement is the body of POST /v1/orders.
type placement struct {
	Items         []item       `json:"items" validate:"required,min=1,max=50,dive"`
	ExpectedTotal *money.Money `json:"expectedTotal,omitempty"`
}

type item struct {
	SKU      string `json:"sku" validate:"required,sku"`
	Quantity int64  `json:"quantity" validate:"min=1,max=1000000"`
}

// accepted is the answer to a request that the saga carries out.
type accepted struct {
	ID     string          `json:"id"`
	Status contract.Status `json:"status"`
}

// place answers POST /v1/orders.
func (a API) place(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	key, err := request.IdempotencyKey(r)
	if err != nil {
		return request.Answer{}, err
	}
	hold, err := request.HoldOf(r, maxWait)
	if err != nil {
		return request.Answer{}, err
	}
	var body placement
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	order, err := a.Place.Do(r.Context(), app.Placement{
		UserID: caller.Subject, Key: key, Fingerprint: request.Fingerprint(body), Lines: body.lines(), ExpectedTotal: body.ExpectedTotal, Wait: hold.For,
	})
	if err != nil {
		return request.Answer{}, err
	}
	location := "/v1/orders/" + order.ID
	if hold.For > 0 && order.Status.Terminal() {
		return hold.Confirm(request.Created(location, viewOf(order, viewer(caller).Any))), nil
	}
	// A repeat of the request that does not wait gets the same answer, however far the order is.
	return hold.Confirm(request.Accepted(location, accepted{ID: order.ID, Status: contract.Placed})), nil
}

// Check implements request.Checker.
func (p *placement) Check() (faults []problem.FieldError) {
	seen := make(map[string]bool, len(p.Items))
	for i, it := range p.Items {
		if seen[it.SKU] {
			faults = append(faults, problem.FieldError{
				Field: fmt.Sprintf("items[%d].sku", i), Code: "duplicate", Message: "appears in another item; add up the quantities",
			})
		}
		seen[it.SKU] = true
	}
	if p.ExpectedTotal != nil && p.ExpectedTotal.Amount < 0 {
		faults = append(faults, problem.FieldError{Field: "expectedTotal.amount", Code: "min", Message: "must not be negative"})
	}
	return faults
}

func (p *placement) lines() []domain.Line {
	lines := make([]domain.Line, len(p.Items))
	for i, it := range p.Items {
		lines[i] = domain.Line{SKU: it.SKU, Quantity: it.Quantity}
	}
	return lines
}

// viewer is who may see which orders.
func viewer(c token.Claims) app.Viewer {
	return app.Viewer{UserID: c.Subject, Any: c.Can(users.PermissionOrdersReadAny)}
}

// pathID is the order id of the path. Text that cannot be an id names an order that does not exist.
func pathID(r *http.Request) (string, error) {
	orderID := r.PathValue("id")
	if !id.Valid(orderID) {
		return "", document.ErrNotFound
	}
	return orderID, nil
}

// maxWait bounds how long one request may wait for an order to end.
const maxWait = 10 * time.Second

// show answers GET /v1/orders/{id}.
func (a API) show(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	hold, err := request.HoldOf(r, maxWait)
	if err != nil {
		return request.Answer{}, err
	}
	orderID, err := pathID(r)
	if err != nil {
		return request.Answer{}, err
	}
	who := viewer(caller)
	order, err := a.Show.Do(r.Context(), who, orderID, hold.For)
	if err != nil {
		return request.Answer{}, err
	}
	return hold.Confirm(request.OK(viewOf(order, who.Any))), nil
}

// list answers GET /v1/orders.
func (a API) list(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	return request.List(r, func(cursor string, limit int) ([]*domain.Order, string, error) {
		return a.List.Do(r.Context(), caller.Subject, cursor, limit)
	}, summary)
}

// cancel answers POST /v1/orders/{id}/cancel.
func (a API) cancel(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	orderID, err := pathID(r)
	if err != nil {
		return request.Answer{}, err
	}
	if err := request.NoBody(r); err != nil {
		return request.Answer{}, err
	}
	who := app.Viewer{UserID: caller.Subject, Any: caller.Can(users.PermissionOrdersCancelAny)}
	return intervened(a.Cancel.Do(r.Context(), who, orderID))
}

// refundBody is the body of POST /v1/orders/{id}/refund. Without an amount, all that is left is refunded.
type refundBody struct {
	Amount *money.Money `json:"amount,omitempty"`
	Reason string       `json:"reason" validate:"required,line,max=200"`
}

// Check implements request.Checker.
func (b *refundBody) Check() []problem.FieldError {
	if b.Amount != nil && b.Amount.Amount < 1 {
		return []problem.FieldError{{Field: "amount.amount", Code: "min", Message: "must be at least 1 minor unit"}}
	}
	return nil
}

// refund answers POST /v1/orders/{id}/refund.
func (a API) refund(r *http.Request) (request.Answer, error) {
	var body refundBody
	in, err := intervene(r, users.PermissionOrdersRefund, &body, request.Decode)
	if err != nil {
		return request.Answer{}, err
	}
	var amount money.Money
	if body.Amount != nil {
		amount = *body.Amount
	}
	return intervened(a.Refund.Do(r.Context(), app.RefundRequest{
		OrderID: in.OrderID, Amount: amount, Reason: body.Reason, By: in.By, Key: in.Key, Fingerprint: request.Fingerprint(body),
	}))
}
