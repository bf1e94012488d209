// Package rest serves notifications over HTTP: inboxes to their users, dead letters to staff, and deliveries and the
// audit to the sidecar.
package rest

import (
	"net/http"
	"time"

	"caravan/internal/money"
	"caravan/internal/page"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/notifications/app"
)

// Handlers answers requests with the use cases.
type Handlers struct {
	app *app.Notifications
}

// NewHandlers makes Handlers.
func NewHandlers(n *app.Notifications) *Handlers { return &Handlers{app: n} }

// Notification is one entry of an inbox on the wire.
type Notification struct {
	ID string `json:"id"`
	// Type is the type of the event it tells of, such as orders.confirmed.v1; Subject is what that is about.
	Type    string `json:"type"`
	Subject string `json:"subject"`
	Title   string `json:"title"`
	Body    string `json:"body"`
	// CreatedAt is when the user was told and orders the list, OccurredAt when it happened.
	CreatedAt  time.Time `json:"createdAt"`
	OccurredAt time.Time `json:"occurredAt"`
	// ReadAt is absent while it is unread.
	ReadAt time.Time `json:"readAt,omitzero"`
	Data   Data      `json:"data"`
}

// Data are the facts behind the words of a notification.
type Data struct {
	OrderID string      `json:"orderId,omitempty"`
	Amount  money.Money `json:"amount,omitzero"`
	Reason  string      `json:"reason,omitempty"`
}

// List answers GET /v1/notifications with the caller's inbox, newest first.
func (h *Handlers) List(w http.ResponseWriter, r *http.Request) error {
	caller, err := service.Caller(r)
	if err != nil {
		return err
	}
	limit, cursor, err := request.Page(r)
	if err != nil {
		return err
	}
	unread, err := flag(r, "unread")
	if err != nil {
		return err
	}
	list, next, err := h.app.List(r.Context(), app.ListNotifications{UserID: caller.Subject, Cursor: cursor, Limit: limit, Unread: unread})
	if err != nil {
		return err
	}
	out := page.List[Notification]{Items: make([]Notification, len(list)), Next: next}
	for i, n := range list {
		out.Items[i] = Notification{
			ID: n.ID, Type: n.Type, Subject: n.Subject, Title: n.Title, Body: n.Body,
			CreatedAt: n.CreatedAt, OccurredAt: n.OccurredAt, ReadAt: n.ReadAt,
			Data: Data{OrderID: n.Data.OrderID, Amount: n.Data.Amount, Reason: n.Data.Reason},
		}
	}
	request.Respond(w, http.StatusOK, out)
	return nil
}

// MarkRead answers POST /v1/notifications/{id}/read.
func (h *Handlers) MarkRead(w http.ResponseWriter, r *http.Request) error {
	caller, err := service.Caller(r)
	if err != nil {
		return err
	}
	if err := request.NoBody(w, r); err != nil {
		return err
	}
	if err := h.app.MarkRead(r.Context(), caller.Subject, r.PathValue("id")); err != nil {
		return err
	}
	request.Respond(w, http.StatusNoContent, nil)
	return nil
}

// flag reads a query parameter that is true or false, false if it is absent.
func flag(r *http.Request, name string) (bool, error) {
	switch r.URL.Query().Get(name) {
	case "":
		return false, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, problem.Invalid(problem.FieldError{Field: name, Code: "boolean", Message: "must be true or false"})
}
