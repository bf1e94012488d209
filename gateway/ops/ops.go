// Package ops answers operators' questions about the gateway itself: which services are ready and which circuit
// breakers are open.
package ops

import (
	"context"
	"net/http"
	"time"

	"caravan/gateway/health"
	"caravan/gateway/proxy"
	"caravan/gateway/route"
	"caravan/internal/request"
)

// ordersApp drives the saga. The breakers of its sidecar protect its calls of other services.
const ordersApp = "orders"

// breakersPath answers POST {} with what orders has observed of those breakers.
const breakersPath = "/internal/breakers"

// breakersTimeout is how long orders may take to answer about its breakers.
const breakersTimeout = 2 * time.Second

// Invoker calls another program through the sidecar; invoke.Invoker is one.
type Invoker interface {
	Invoke(ctx context.Context, app, path string, in, out any) error
}

// Operations answers operators.
type Operations struct {
	Checker  *health.Checker
	Breakers *proxy.Breakers
	Invoker  Invoker
}

// noParameters are the query parameters of a complete answer: none. An ignored filter would widen the answer.
var noParameters request.Parameters

type list[T any] struct {
	Items []T `json:"items"`
}

type service struct {
	Name       string            `json:"name"`
	Status     string            `json:"status"`
	DurationMS float64           `json:"durationMs"`
	Checks     map[string]string `json:"checks,omitempty"`
	Detail     string            `json:"detail,omitempty"`
	Breaker    string            `json:"breaker"`
}

// ListServices answers GET /v1/ops/services.
func (o *Operations) ListServices(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters.Check(r.URL.RawQuery); err != nil {
		return err
	}
	states := make(map[string]string)
	for _, b := range o.Breakers.Status() {
		states[b.App] = b.State
	}
	answer := list[service]{Items: []service{}}
	for _, s := range o.Checker.Services(r.Context()) {
		answer.Items = append(answer.Items, service{
			Name: s.Name, Status: s.State, DurationMS: health.Milliseconds(s.Duration), Checks: s.Checks, Detail: s.Detail, Breaker: states[s.Name],
		})
	}
	request.Respond(w, http.StatusOK, answer)
	return nil
}

type breakers struct {
	Items    []breaker `json:"items"`
	Complete bool      `json:"complete"` // whether it includes those of orders
}

// breaker is a circuit breaker of the gateway, or one that orders has observed in its sidecar.
type breaker struct {
	Caller              string    `json:"caller"`
	App                 string    `json:"app"`
	Target              string    `json:"target,omitempty"`
	State               string    `json:"state"`
	Since               time.Time `json:"since"`
	Requests            *uint32   `json:"requests,omitempty"`
	Failures            *uint32   `json:"failures,omitempty"`
	ConsecutiveFailures *uint32   `json:"consecutiveFailures,omitempty"`
	Refused             *int64    `json:"refused,omitempty"`
	Opened              *int64    `json:"opened,omitempty"`
}

// ListBreakers answers GET /v1/ops/breakers. If orders does not answer, which is when operators look, the answer says
// that it is not complete.
func (o *Operations) ListBreakers(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters.Check(r.URL.RawQuery); err != nil {
		return err
	}
	answer := breakers{Items: []breaker{}}
	for _, b := range o.Breakers.Status() {
		answer.Items = append(answer.Items, breaker{
			Caller: route.Gateway, App: b.App, State: b.State, Since: b.Since,
			Requests: &b.Requests, Failures: &b.Failures, ConsecutiveFailures: &b.ConsecutiveFailures,
		})
	}
	observed, err := o.observed(r.Context())
	answer.Complete = err == nil
	answer.Items = append(answer.Items, observed...)
	request.Respond(w, http.StatusOK, answer)
	return nil
}

// observed asks orders. The answer has the form of sidecar.Breaker.
func (o *Operations) observed(ctx context.Context) ([]breaker, error) {
	ctx, cancel := context.WithTimeout(ctx, breakersTimeout)
	defer cancel()
	var answer struct {
		Breakers []struct {
			Target  string    `json:"target"`
			App     string    `json:"app"`
			State   string    `json:"state"`
			Since   time.Time `json:"since"`
			Refused int64     `json:"refused"`
			Opened  int64     `json:"opened"`
		} `json:"breakers"`
	}
	if err := o.Invoker.Invoke(ctx, ordersApp, breakersPath, struct{}{}, &answer); err != nil {
		return nil, err
	}
	var found []breaker
	for _, b := range answer.Breakers {
		found = append(found, breaker{
			Caller: ordersApp, App: b.App, Target: b.Target, State: b.State, Since: b.Since, Refused: &b.Refused, Opened: &b.Opened,
		})
	}
	return found, nil
}
