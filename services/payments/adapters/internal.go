package adapters

import (
	"context"
	"net/http"

	"caravan/internal/audit"
	"caravan/internal/request"
	"caravan/services/payments/app"
	"caravan/services/payments/contract"
)

// Validated refuses a command whose form is wrong before it reaches its use case: the command's validator tags are the
// rules.
func Validated[C, R any](handle func(context.Context, C) (R, error)) func(context.Context, C) (R, error) {
	return func(ctx context.Context, command C) (R, error) {
		if err := request.Validate(command); err != nil {
			var none R
			return none, err
		}
		return handle(ctx, command)
	}
}

// Audit answers POST /internal/audit with one page of findings.
func Audit(ledger *app.Audit) request.Handler {
	return func(r *http.Request) (request.Answer, error) {
		var body audit.Request
		if err := request.Decode(r, &body); err != nil {
			return request.Answer{}, err
		}
		page, err := ledger.Page(r.Context(), body.Cursor)
		if err != nil {
			return request.Answer{}, err
		}
		return request.OK(page), nil
	}
}

// AuditOrders answers POST /internal/audit-orders with what orders did to wallets.
func AuditOrders(ledger *app.Audit) request.Handler {
	return func(r *http.Request) (request.Answer, error) {
		var body contract.OrdersRequest
		if err := request.Decode(r, &body); err != nil {
			return request.Answer{}, err
		}
		found, err := ledger.Orders(r.Context(), body)
		if err != nil {
			return request.Answer{}, err
		}
		return request.OK(found), nil
	}
}
