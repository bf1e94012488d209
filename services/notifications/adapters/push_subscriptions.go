package adapters

import (
	"errors"
	"net/http"
	"time"

	"caravan/internal/page"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

// PushAPI is what the routes of push subscriptions need.
type PushAPI struct {
	Subscribe   app.SubscribePush
	List        app.ListPushSubscriptions
	Unsubscribe app.UnsubscribePush
	// PublicKey identifies the shop to push services. It is "" if the shop sends no push messages.
	PublicKey string
	// AllowLocal permits endpoints on this machine, for tests.
	AllowLocal bool
}

// pushKey answers GET /v1/notifications/push-key.
func (a API) pushKey(r *http.Request) (request.Answer, error) {
	if _, err := service.Caller(r); err != nil {
		return request.Answer{}, err
	}
	if a.Push.PublicKey == "" {
		return request.Answer{}, errPushOff
	}
	return request.OK(pushKeyBody{a.Push.PublicKey}), nil
}

type pushKeyBody struct {
	PublicKey string `json:"publicKey"`
}

// pushSubscription is a subscription as its user sees it. The endpoint and the keys are secrets, and no answer has them.
type pushSubscription struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"createdAt"`
	RenewedAt time.Time `json:"renewedAt"`
}

func pushSubscriptionOf(s domain.PushSubscription) pushSubscription {
	return pushSubscription{s.ID, s.CreatedAt, s.RenewedAt}
}

// pushSubscribing is a PushSubscription of a browser, as its toJSON writes it.
type pushSubscribing struct {
	Endpoint string `json:"endpoint"`
	// ExpirationTime is not used: the push service says when a subscription has ended. Browsers send null.
	ExpirationTime *int64   `json:"expirationTime,omitzero" null:"allowed" validate:"omitnil,min=0,max=9007199254740991"`
	Keys           pushKeys `json:"keys"`

	local  bool
	target domain.PushTarget
}

type pushKeys struct {
	P256dh string `json:"p256dh"`
	Auth   string `json:"auth"`
}

// Check implements request.Checker.
func (b *pushSubscribing) Check() []problem.FieldError {
	var err error
	b.target, err = domain.NewPushTarget(b.Endpoint, b.Keys.P256dh, b.Keys.Auth, b.local)
	var broken domain.Violations
	if errors.As(err, &broken) {
		return faultsOf(broken)
	}
	return nil
}

// subscribePush answers POST /v1/notifications/push-subscriptions.
func (a API) subscribePush(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	body := pushSubscribing{local: a.Push.AllowLocal}
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	if a.Push.PublicKey == "" {
		return request.Answer{}, errPushOff
	}
	stored, err := a.Push.Subscribe.Do(r.Context(), caller.Subject, body.target)
	if err != nil {
		return request.Answer{}, err
	}
	return request.Created("/v1/notifications/push-subscriptions/"+stored.ID, pushSubscriptionOf(stored)), nil
}

// listPushSubscriptions answers GET /v1/notifications/push-subscriptions.
func (a API) listPushSubscriptions(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	found, err := a.Push.List.Do(r.Context(), caller.Subject)
	if err != nil {
		return request.Answer{}, err
	}
	list := page.List[pushSubscription]{Items: make([]pushSubscription, len(found))}
	for i, s := range found {
		list.Items[i] = pushSubscriptionOf(s)
	}
	return request.OK(list), nil
}

// unsubscribePush answers DELETE /v1/notifications/push-subscriptions/{id}.
func (a API) unsubscribePush(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	if err := a.Push.Unsubscribe.Do(r.Context(), caller.Subject, r.PathValue("id")); err != nil {
		return request.Answer{}, err
	}
	return request.NoContent(), nil
}
