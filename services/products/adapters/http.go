// Package adapters connects the use cases of products to HTTP and to the orders service.
package adapters

import (
	"log/slog"

	"caravan/internal/clock"
	"caravan/internal/invoke"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/products/app"
	"caravan/services/products/audit"
	"caravan/services/products/contract"
)

// API serves the use cases of products.
type API struct {
	List    app.ListProducts
	Get     app.GetProduct
	Create  app.CreateProduct
	Change  app.ChangeProduct
	Correct app.CorrectStock
	Watch   app.WatchProduct
	Unwatch app.UnwatchProduct
	Watches app.ListWatches
	Reserve app.ReserveStock
	Commit  app.CommitStock
	Release app.ReleaseStock
	Audit   audit.Audit

	// Clock decides which prices are in effect.
	Clock clock.Clock
	Log   *slog.Logger
}

// Register adds the routes.
func (a API) Register(routes service.Routes) {
	r := service.WithProblems(routes, problemOf)
	r.Public("GET /v1/products?category&q&limit&cursor", a.list)
	r.Public("GET /v1/products/{sku}", a.get)
	r.Public("POST /v1/products", a.create)
	r.Public("PATCH /v1/products/{sku}", a.change)
	r.Public("POST /v1/products/{sku}/stock", a.correctStock)

	r.Public("PUT /v1/products/{sku}/watch", a.watch)
	r.Public("DELETE /v1/products/{sku}/watch", a.unwatch)
	r.Public("GET /v1/watches?limit&cursor", a.watches)

	r.Internal("POST "+contract.PathReserve, invoke.Serve(a.Log, command(a.Reserve.Do)))
	r.Internal("POST "+contract.PathCommit, invoke.Serve(a.Log, command(a.Commit.Do)))
	r.Internal("POST "+contract.PathRelease, invoke.Serve(a.Log, command(a.Release.Do)))
	r.Internal("POST "+contract.PathAudit, request.Function(a.Audit.Page))
	r.Internal("POST "+contract.PathHolds, request.Function(a.Audit.Holds, request.WithLimit(maxHoldsRequest)))
}

// maxHoldsRequest has room for the largest request, which is well above the limit of a public body:
// contract.MaxHoldsOrders orders of as many lines as an order may have.
const maxHoldsRequest = 512 << 10
