package adapters

import (
	"net/http"
	"slices"
	"time"

	"caravan/internal/clock"
	"caravan/internal/id"
	"caravan/internal/page"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
	users "caravan/services/users/contract"
)

// delivery is a message outside the app as staff see it.
type delivery struct {
	ID      string               `json:"id"`
	Channel domain.Channel       `json:"channel"`
	Kind    string               `json:"kind"`
	Status  domain.DeliveryState `json:"status"`
	UserID  string               `json:"userId"`
	EventID string               `json:"eventId"`
	OrderID string               `json:"orderId,omitempty"`
	// Reason says why it waits or how it ended. Failures are the last failed attempts.
	Reason       string    `json:"reason,omitempty"`
	Failures     []failure `json:"failures,omitempty"`
	Attempts     int       `json:"attempts"`
	Resends      int       `json:"resends"`
	SupersededBy string    `json:"supersededBy,omitempty"`

	OccurredAt    time.Time `json:"occurredAt"`
	CreatedAt     time.Time `json:"createdAt"`
	NextAttemptAt time.Time `json:"nextAttemptAt,omitzero"`
	SentAt        time.Time `json:"sentAt,omitzero"`
}

type failure struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

func deliveryOf(l app.ListedDelivery) delivery {
	d := delivery{
		ID: l.ID, Channel: l.Channel, Kind: l.Kind, Status: l.State, UserID: l.UserID, EventID: l.EventID, OrderID: l.Data.OrderID,
		Reason: l.Reason, Attempts: l.Attempts, Resends: l.Resends, SupersededBy: l.By,
		OccurredAt: l.OccurredAt, CreatedAt: l.CreatedAt, NextAttemptAt: l.NextAttemptAt, SentAt: l.SentAt,
	}
	for _, f := range l.History {
		d.Failures = append(d.Failures, failure{At: f.At, Reason: f.Error})
	}
	return d
}

// listDeliveries answers GET /v1/ops/notifications.
func (a API) listDeliveries(r *http.Request) (request.Answer, error) {
	if _, err := service.Require(r, users.PermissionOpsRead); err != nil {
		return request.Answer{}, err
	}
	limit, cursor, err := request.Page(r)
	if err != nil {
		return request.Answer{}, err
	}
	filter, err := deliveryFilter(r)
	if err != nil {
		return request.Answer{}, err
	}
	found, next, err := a.ListDeliveries.Do(r.Context(), filter, cursor, limit)
	if err != nil {
		return request.Answer{}, err
	}
	list := page.List[delivery]{Items: make([]delivery, len(found)), Next: next}
	for i, l := range found {
		list.Items[i] = deliveryOf(l)
	}
	return request.OK(list), nil
}

// deliveryFilter reads the filter from the query.
func deliveryFilter(r *http.Request) (app.DeliveryFilter, error) {
	q := r.URL.Query()
	f := app.DeliveryFilter{
		Status: domain.DeliveryState(q.Get("status")), Channel: domain.Channel(q.Get("channel")), Kind: q.Get("kind"), UserID: q.Get("user"),
	}
	var wrong []problem.FieldError
	refuse := func(field, code, message string) {
		wrong = append(wrong, problem.FieldError{Field: field, Code: code, Message: message})
	}
	if f.Status != "" && !slices.Contains(domain.DeliveryStates(), f.Status) {
		refuse("status", "oneof", "is not a state of a message")
	}
	if f.Channel != "" && f.Channel != domain.Email && f.Channel != domain.Push {
		refuse("channel", "oneof", "must be email or push")
	}
	if f.Kind != "" && !slices.ContainsFunc(domain.Kinds(), func(k domain.Kind) bool { return k.Name == f.Kind }) {
		refuse("kind", "oneof", "is not a kind of message")
	}
	if f.UserID != "" && !id.Plain(f.UserID) {
		refuse("user", "id", "must be the id of a user")
	}
	if text := q.Get("since"); text != "" {
		var err error
		if f.Since, err = clock.Parse(text); err != nil {
			refuse("since", "time", "must be a time such as 2026-03-01T12:00:00Z")
		}
	}
	if len(wrong) > 0 {
		return app.DeliveryFilter{}, problem.Invalid(wrong...)
	}
	return f, nil
}

// resend answers POST /v1/ops/notifications/{id}/resend.
func (a API) resend(r *http.Request) (request.Answer, error) {
	caller, err := service.Require(r, users.PermissionOpsWrite)
	if err != nil {
		return request.Answer{}, err
	}
	if err := request.NoBody(r); err != nil {
		return request.Answer{}, err
	}
	key, err := request.OptionalIdempotencyKey(r)
	if err != nil {
		return request.Answer{}, err
	}
	sent, err := a.ResendDelivery.Do(r.Context(), r.PathValue("id"), caller.Subject, key)
	if err != nil {
		return request.Answer{}, err
	}
	return request.Accepted("", deliveryOf(sent)), nil
}
