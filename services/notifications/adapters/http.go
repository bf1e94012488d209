// Package adapters connects the use cases of notifications to HTTP and to the metrics.
package adapters

import (
	"caravan/internal/request"
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
func (a API) Register(s service.Routes) {
	s.Public("GET /v1/notifications?unread&limit&cursor", a.list)
	s.Public("POST /v1/notifications/{id}/read", a.markRead)

	s.Internal("POST "+contract.PathAudit, request.Function(a.Audit.Page))
	s.Internal("POST "+contract.PathEntries, request.Function(a.Audit.Entries, request.WithLimit(maxEntriesRequest)))
}

// maxEntriesRequest has room for the largest request: contract.MaxEntries events with the longest ids. That is well above the
// limit of a public body.
const maxEntriesRequest = 512 << 10
