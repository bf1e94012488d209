// Package adapters connects the use cases of notifications to HTTP and to the metrics.
package adapters

import (
	"log/slog"

	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/notifications/app"
	"caravan/services/notifications/audit"
	"caravan/services/notifications/contract"
)

// API serves the routes of notifications. service.Consume adds those of events and dead letters.
type API struct {
	List        app.ListNotifications
	MarkRead    app.MarkRead
	MarkAllRead app.MarkAllRead
	Delete      app.DeleteNotification

	ShowPreferences app.ShowPreferences
	SetPreferences  app.SetPreferences

	ShowUnsubscription app.ShowUnsubscription
	Unsubscribe        app.Unsubscribe

	OpenStream app.OpenStream

	Push PushAPI

	Audit *audit.Audit

	ListDeliveries app.ListDeliveries
	ResendDelivery app.ResendDelivery

	// Jitter gives numbers from 0 up to 1 that spread what clients do.
	Jitter func() float64
	Log    *slog.Logger
}

// Register adds the routes.
func (a API) Register(s service.Routes) {
	s = service.WithProblems(s, problemOf)
	s.Public("GET /v1/notifications?unread&limit&cursor", a.list)
	s.Long("GET /v1/notifications/stream?lastEventId", a.stream)
	s.Public("POST /v1/notifications/{id}/read", a.markRead)
	s.Public("POST /v1/notifications/read-all", a.markAllRead)
	s.Public("DELETE /v1/notifications/{id}", a.remove)
	s.Public("GET /v1/notifications/preferences", a.showPreferences)
	s.Public("PUT /v1/notifications/preferences", a.setPreferences)
	s.Public("GET /v1/notifications/push-key", a.pushKey)
	s.Public("GET /v1/notifications/push-subscriptions", a.listPushSubscriptions)
	s.Public("POST /v1/notifications/push-subscriptions", a.subscribePush)
	s.Public("DELETE /v1/notifications/push-subscriptions/{id}", a.unsubscribePush)

	s.Anonymous("GET "+app.UnsubscribePath+"?token", a.showUnsubscription)
	s.Anonymous("POST "+app.UnsubscribePath+"?token", a.unsubscribe)

	s.Public("GET /v1/ops/notifications?status&channel&kind&user&since&limit&cursor", a.listDeliveries)
	s.Public("POST /v1/ops/notifications/{id}/resend", a.resend)

	s.Internal("POST "+contract.PathAudit, request.Function(a.Audit.Page))
	s.Internal("POST "+contract.PathEntries, request.Function(a.Audit.Entries, request.WithLimit(maxEntriesRequest)))
}

// maxEntriesRequest has room for the largest request: contract.MaxEntries events with the longest ids and their data. That is well
// above the limit of a public body.
const maxEntriesRequest = 2 << 20
