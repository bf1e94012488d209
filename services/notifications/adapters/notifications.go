package adapters

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

// Notification is one entry of an inbox on the wire.
type Notification struct {
	ID string `json:"id"`
	// Type is the type of its event, such as orders.confirmed.v1, and Subject the subject of the event.
	Type    string `json:"type"`
	Subject string `json:"subject"`
	Title   string `json:"title"`
	Body    string `json:"body"`
	// CreatedAt is when the notification was stored; the list is in this order. OccurredAt is the time of the event.
	CreatedAt  time.Time `json:"createdAt"`
	OccurredAt time.Time `json:"occurredAt"`
	// ReadAt is absent while it is unread.
	ReadAt time.Time `json:"readAt,omitzero"`
	Data   Data      `json:"data"`
}

// Data are the values in the text of a notification.
type Data struct {
	OrderID string      `json:"orderId,omitempty"`
	Amount  money.Money `json:"amount,omitzero"`
	Reason  string      `json:"reason,omitempty"`
}

// list answers GET /v1/notifications with the caller's inbox, newest first.
func (a API) list(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	limit, cursor, err := request.Page(r)
	if err != nil {
		return request.Answer{}, err
	}
	unread, err := flag(r, "unread")
	if err != nil {
		return request.Answer{}, err
	}
	list, next, err := a.List.Do(r.Context(), app.Query{UserID: caller.Subject, Cursor: cursor, Limit: limit, Unread: unread})
	if err != nil {
		return request.Answer{}, err
	}
	out := page.List[Notification]{Items: make([]Notification, len(list)), Next: next}
	for i, n := range list {
		out.Items[i] = Notification{
			ID: n.ID, Type: n.Type, Subject: n.Subject, Title: n.Title, Body: n.Body,
			CreatedAt: n.CreatedAt, OccurredAt: n.OccurredAt, ReadAt: n.ReadAt,
			Data: Data{OrderID: n.Data.OrderID, Amount: n.Data.Amount, Reason: n.Data.Reason},
		}
	}
	return request.OK(out), nil
}

// markRead answers POST /v1/notifications/{id}/read.
func (a API) markRead(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	if err := request.NoBody(r); err != nil {
		return request.Answer{}, err
	}
	if err := a.MarkRead.Do(r.Context(), caller.Subject, r.PathValue("id")); err != nil {
		return request.Answer{}, err
	}
	return request.NoContent(), nil
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
