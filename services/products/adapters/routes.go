// Package adapters joins the use cases of products to HTTP and to the orders service.
package adapters

import (
	"log/slog"

	"caravan/internal/feed"
	"caravan/internal/invoke"
	"caravan/internal/request"
	"caravan/services/products/app"
	"caravan/services/products/contract"
)

// Router is where routes are registered.
type Router interface {
	// Public routes are reached through the gateway.
	Public(pattern string, h request.Handler)
	// Internal routes are reached by other services only.
	Internal(pattern string, h request.Handler)
}

// Register serves the use cases of a shop. The audit checks its events against coverage.
func Register(router Router, shop *app.Shop, coverage *feed.Coverage, log *slog.Logger) {
	catalogue := catalogueAPI{shop}
	router.Public("GET /v1/products?category&q&limit&cursor", catalogue.list)
	router.Public("GET /v1/products/{sku}", catalogue.get)
	router.Public("POST /v1/products", catalogue.create)
	router.Public("PATCH /v1/products/{sku}", catalogue.change)
	router.Public("POST /v1/products/{sku}/stock", catalogue.correctStock)

	router.Internal("POST "+contract.PathReserve, invoke.Serve(log, described(shop.Reserve)))
	router.Internal("POST "+contract.PathCommit, invoke.Serve(log, described(shop.Commit)))
	router.Internal("POST "+contract.PathRelease, invoke.Serve(log, described(shop.Release)))
	audit := auditAPI{app.NewAudit(shop, coverage)}
	router.Internal("POST "+contract.PathAudit, audit.page)
	router.Internal("POST "+contract.PathHolds, audit.holds)
}
