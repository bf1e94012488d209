package adapters

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"caravan/internal/page"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/sidecar"
	"caravan/services/orders/app"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	users "caravan/services/users/contract"
)

// Operations serves staff, and the questions of other services.
type Operations struct {
	Operate  app.Operate
	Audit    *app.Audit
	Breakers func() []sidecar.Breaker
}

// Register adds the routes.
func (o Operations) Register(s service.Routes) {
	s.Public("GET /v1/ops/orders?status&waiting=&step&limit&cursor", o.list)
	s.Public("POST /v1/ops/orders/{id}/retry", o.retry)
	s.Public("POST /v1/ops/orders/{id}/cancel", o.cancel)
	s.Long("GET /v1/ops/audit", o.audit)
	s.Internal("POST "+contract.PathStatus, o.statuses)
	s.Internal("POST /internal/breakers", o.breakers)
}

func (o Operations) list(r *http.Request) (request.Answer, error) {
	if _, err := service.Require(r, users.PermissionOpsRead); err != nil {
		return request.Answer{}, err
	}
	limit, cursor, err := request.Page(r)
	if err != nil {
		return request.Answer{}, err
	}
	filter, err := orderFilter(r, o.Operate.Steps())
	if err != nil {
		return request.Answer{}, err
	}
	orders, next, err := o.Operate.List(r.Context(), filter, cursor, limit)
	if err != nil {
		return request.Answer{}, err
	}
	views := make([]view, len(orders))
	for i, l := range orders {
		views[i] = summary(l.Order)
		if filter.Stalled {
			views[i] = stalled(l)
		}
	}
	return request.OK(page.List[view]{Items: views, Next: next}), nil
}

// defaultWaiting is how long an order waits before staff should look at it, if they do not say. Most waits are over by
// then.
const defaultWaiting = time.Minute

// orderFilter reads the filter from the query; steps are those that an order can wait at.
func orderFilter(r *http.Request, steps []string) (app.OrderFilter, error) {
	q := r.URL.Query()
	f := app.OrderFilter{Status: contract.Status(q.Get("status")), Step: q.Get("step"), Stalled: q.Has("waiting"), Waiting: defaultWaiting}
	var wrong []problem.FieldError
	if f.Status != "" && !f.Status.Known() {
		wrong = append(wrong, problem.FieldError{Field: "status", Code: "oneof", Message: "is not a state of an order"})
	}
	if text := q.Get("waiting"); text != "" {
		var ok bool
		if f.Waiting, ok = request.Duration(text); !ok {
			wrong = append(wrong, problem.FieldError{Field: "waiting", Code: "duration", Message: "must be a duration from 0s on, such as 90s or 5m"})
		}
	}
	switch {
	case f.Step != "" && !slices.Contains(steps, f.Step):
		wrong = append(wrong, problem.FieldError{Field: "step", Code: "oneof", Message: "must be one of " + strings.Join(steps, ", ")})
	case f.Step != "" && !f.Stalled:
		wrong = append(wrong, problem.FieldError{Field: "step", Code: "needs", Message: "can be asked for with waiting only"})
	}
	if len(wrong) > 0 {
		return app.OrderFilter{}, problem.Invalid(wrong...)
	}
	return f, nil
}

// intervention is the body of a retry or a cancellation by staff.
type intervention struct {
	Reason string `json:"reason" validate:"required,line,max=200"`
}

// retried is the body of a retry; it may be left out.
type retried struct {
	Reason string `json:"reason,omitempty" validate:"line,max=200"`
}

func (o Operations) retry(r *http.Request) (request.Answer, error) {
	in, err := intervene(r)
	if err != nil {
		return request.Answer{}, err
	}
	var body retried
	if err := request.DecodeOptional(r, &body); err != nil {
		return request.Answer{}, err
	}
	in.Reason = body.Reason
	return o.answer(r, in, o.Operate.Retry)
}

func (o Operations) cancel(r *http.Request) (request.Answer, error) {
	in, err := intervene(r)
	if err != nil {
		return request.Answer{}, err
	}
	var body intervention
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	in.Reason = body.Reason
	return o.answer(r, in, o.Operate.Cancel)
}

// intervene reads who intervenes in which order, and under which key, if any.
func intervene(r *http.Request) (app.Intervention, error) {
	caller, err := service.Require(r, users.PermissionOpsWrite)
	if err != nil {
		return app.Intervention{}, err
	}
	orderID, err := pathID(r)
	if err != nil {
		return app.Intervention{}, err
	}
	in := app.Intervention{OrderID: orderID, By: caller.Subject}
	in.Key, err = request.OptionalIdempotencyKey(r)
	return in, err
}

func (o Operations) answer(r *http.Request, in app.Intervention, act func(context.Context, app.Intervention) (*domain.Order, error)) (request.Answer, error) {
	order, err := act(r.Context(), in)
	if err != nil {
		return request.Answer{}, err
	}
	return request.Accepted("", accepted{ID: order.ID, Status: order.Status}), nil
}

// auditPatience is how long one request waits for the audit's end; the caller
// asks again for a report that is not complete.
const auditPatience = 10 * time.Second

func (o Operations) audit(r *http.Request) (request.Answer, error) {
	if _, err := service.Require(r, users.PermissionOpsRead); err != nil {
		return request.Answer{}, err
	}
	report, err := o.Audit.Run(r.Context(), auditPatience)
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(report), nil
}

func (o Operations) statuses(r *http.Request) (request.Answer, error) {
	var body contract.StatusRequest
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	if len(body.OrderIDs) > contract.MaxStatusIDs {
		return request.Answer{}, problem.Invalid(problem.FieldError{Field: "orderIds", Code: "max", Message: "holds too many ids"})
	}
	states, err := o.Operate.Statuses(r.Context(), body.OrderIDs)
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(contract.Statuses{Statuses: states}), nil
}

func (o Operations) breakers(_ *http.Request) (request.Answer, error) {
	return request.OK(map[string]any{"breakers": o.Breakers()}), nil
}
