// Package adapters connects the use cases of payments to HTTP. The package below it is the bank.
package adapters

import (
	"context"
	"log/slog"

	"caravan/internal/invoke"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/payments/app"
	"caravan/services/payments/audit"
	"caravan/services/payments/contract"
)

// API serves the routes of payments.
type API struct {
	ShowWallet   app.ShowWallet
	ListPostings app.ListPostings
	Deposit      app.Deposit
	ShowDeposit  app.ShowDeposit
	Authorize    app.Authorize
	Capture      app.Capture
	Void         app.Void
	Refund       app.Refund
	Audit        audit.Audit
	Log          *slog.Logger
}

// Register adds the routes.
func (a API) Register(s service.Routes) {
	s = service.WithProblems(s, problemOf)

	s.Public("GET /v1/wallet", a.showWallet)
	s.Public("GET /v1/wallet/postings?limit&cursor", a.listPostings)
	s.Public("POST /v1/wallet/deposits", a.deposit)
	s.Public("GET /v1/wallet/deposits/{id}", a.showDeposit)

	s.Internal("POST "+contract.PathAuthorize, invoke.Serve(a.Log, command(a.Authorize.Do)))
	s.Internal("POST "+contract.PathCapture, invoke.Serve(a.Log, command(a.Capture.Do)))
	s.Internal("POST "+contract.PathVoid, invoke.Serve(a.Log, command(a.Void.Do)))
	s.Internal("POST "+contract.PathRefund, invoke.Serve(a.Log, command(a.Refund.Do)))
	s.Internal("POST "+contract.PathAudit, request.Function(a.Audit.Page))
	s.Internal("POST "+contract.PathOrders, request.Function(a.Audit.Orders))
}

// command validates a command before its use case gets it, and returns the problem of an error.
func command[C, R any](do func(context.Context, C) (R, error)) func(context.Context, C) (R, error) {
	return func(ctx context.Context, c C) (result R, err error) {
		if err := request.Validate(c); err != nil {
			return result, err
		}
		result, err = do(ctx, c)
		return result, problemOf(err)
	}
}
