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
	// Position is its place in the inbox: the oldest has 1.
	Position int `json:"position"`
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
	OrderID   string      `json:"orderId,omitempty"`
	SKU       string      `json:"sku,omitempty"`
	Available int64       `json:"available,omitzero"`
	Was       money.Money `json:"was,omitzero"`
	Amount    money.Money `json:"amount,omitzero"`
	Reason    string      `json:"reason,omitempty"`
}

// NotificationList is a page of an inbox on the wire.
type NotificationList struct {
	page.List[Notification]
	// Unread is how many of the newest notifications in the whole inbox are unread.
	Unread int `json:"unread"`
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
	found, err := a.List.Do(r.Context(), app.Query{UserID: caller.Subject, Cursor: cursor, Limit: limit, Unread: unread})
	if err != nil {
		return request.Answer{}, err
	}
	out := NotificationList{List: page.List[Notification]{Items: make([]Notification, len(found.Notifications)), Next: found.Next}, Unread: found.Unread}
	for i, n := range found.Notifications {
		out.Items[i] = notificationOf(n)
	}
	return request.OK(out), nil
}

func notificationOf(n app.Notification) Notification {
	return Notification{
		ID: n.ID, Position: n.Position, Type: n.Type, Subject: n.Subject, Title: n.Title, Body: n.Body,
		CreatedAt: n.CreatedAt, OccurredAt: n.OccurredAt, ReadAt: n.ReadAt,
		Data: Data{
			OrderID: n.Data.OrderID, SKU: n.Data.SKU, Available: n.Data.Available, Was: n.Data.Was, Amount: n.Data.Amount, Reason: n.Data.Reason,
		},
	}
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

// markAllRead answers POST /v1/notifications/read-all.
func (a API) markAllRead(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	var body struct {
		UpTo int `json:"upTo" validate:"min=1,max=1000000000"`
	}
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	if err := a.MarkAllRead.Do(r.Context(), caller.Subject, body.UpTo); err != nil {
		return request.Answer{}, err
	}
	return request.NoContent(), nil
}

// remove answers DELETE /v1/notifications/{id}.
func (a API) remove(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	if err := a.Delete.Do(r.Context(), caller.Subject, r.PathValue("id")); err != nil {
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
