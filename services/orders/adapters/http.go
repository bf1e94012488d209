// Package adapters connects the use cases of orders to HTTP and to the metrics.
package adapters

import (
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/sidecar"
	"caravan/services/orders/app"
	"caravan/services/orders/audit"
	"caravan/services/orders/contract"
)

// API serves the routes of orders.
type API struct {
	Place         app.PlaceOrder
	Show          app.ShowOrder
	List          app.ListOrders
	Cancel        app.CancelOrder
	Refund        app.RefundOrder
	ListAll       app.ListAllOrders
	Retry         app.RetryOrder
	CancelByStaff app.CancelOrderByStaff
	Statuses      app.OrderStatuses
	Audit         *audit.Audit
	// Steps names the steps at which an order can wait.
	Steps []string
	// Breakers reports the circuit breakers of the calls to other services.
	Breakers func() []sidecar.Breaker
}

// Register adds the routes.
func (a API) Register(to service.Routes) {
	s := service.WithProblems(to, problemOf)
	s.Public("POST /v1/orders?wait", a.place)
	s.Public("GET /v1/orders?limit&cursor", a.list)
	s.Public("GET /v1/orders/{id}?wait", a.show)
	s.Public("POST /v1/orders/{id}/cancel", a.cancel)
	s.Public("POST /v1/orders/{id}/refund", a.refund)

	s.Public("GET /v1/ops/orders?status&waiting=&step&limit&cursor", a.listAll)
	s.Public("POST /v1/ops/orders/{id}/retry", a.retry)
	s.Public("POST /v1/ops/orders/{id}/cancel", a.cancelByStaff)
	s.Long("GET /v1/ops/audit", a.audit)

	s.Internal("POST "+contract.PathStatus, request.Function(a.Statuses.Do))
	s.Internal("POST "+contract.PathBreakers, a.breakers)
}
