package adapters

import (
	"net/http"
	"time"

	"caravan/internal/money"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/token"
	"caravan/services/products/app"
)

// watchView is a product that the caller watches.
type watchView struct {
	SKU  string `json:"sku"`
	Name string `json:"name"`
	// Price is the present price. The caller is notified when it is below Known.
	Price money.Money `json:"price"`
	Known money.Money `json:"known"`
	Since time.Time   `json:"since"`
}

func (a API) viewOfWatch(w app.Watched) watchView {
	return watchView{
		SKU: w.Product.SKU, Name: w.Product.Name, Price: w.Product.CurrentPrice(a.Clock.Now()), Known: w.Known, Since: w.Since,
	}
}

// watch answers PUT /v1/products/{sku}/watch.
func (a API) watch(r *http.Request) (request.Answer, error) {
	caller, sku, err := callerAndSKU(r)
	if err != nil {
		return request.Answer{}, err
	}
	if err := request.NoBody(r); err != nil {
		return request.Answer{}, err
	}
	watched, err := a.Watch.Do(r.Context(), caller.Subject, sku)
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(a.viewOfWatch(watched)), nil
}

// unwatch answers DELETE /v1/products/{sku}/watch.
func (a API) unwatch(r *http.Request) (request.Answer, error) {
	caller, sku, err := callerAndSKU(r)
	if err != nil {
		return request.Answer{}, err
	}
	if err := a.Unwatch.Do(r.Context(), caller.Subject, sku); err != nil {
		return request.Answer{}, err
	}
	return request.NoContent(), nil
}

// watches answers GET /v1/watches.
func (a API) watches(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	return request.List(r, func(cursor string, limit int) ([]app.Watched, string, error) {
		return a.Watches.Do(r.Context(), caller.Subject, cursor, limit)
	}, a.viewOfWatch)
}

func callerAndSKU(r *http.Request) (token.Claims, string, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return token.Claims{}, "", err
	}
	sku, err := pathSKU(r)
	return caller, sku, err
}
