// Package adapters connects the use cases of notifications to HTTP and to the metrics.
package adapters

import (
	"caravan/internal/service"
	"caravan/services/notifications/app"
	"caravan/services/notifications/audit"
	"caravan/services/notifications/contract"
)

// API serves the routes of notifications. service.Consume adds those of events and dead letters.
type API struct {
	List     app.ListNotifications
	MarkRead app.MarkRead
	Audit    *audit.Audit
}

// Register adds the routes.
func (a API) Register(r service.Routes) {
	r.Public("GET /v1/notifications?unread&limit&cursor", a.list)
	r.Public("POST /v1/notifications/{id}/read", a.markRead)
	r.Internal("POST "+contract.PathAudit, a.auditPage)
	r.Internal("POST "+contract.PathEntries, a.auditEntries)
}
