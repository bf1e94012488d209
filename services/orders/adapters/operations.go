package adapters

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/orders/app"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	users "caravan/services/users/contract"
)

// listAll answers GET /v1/ops/orders.
func (a API) listAll(r *http.Request) (request.Answer, error) {
	if _, err := service.Require(r, users.PermissionOpsRead); err != nil {
		return request.Answer{}, err
	}
	var filter app.OrderFilter
	return request.List(r, func(cursor string, limit int) (orders []app.Listed, next string, err error) {
		if filter, err = orderFilter(r, a.Steps); err != nil {
			return nil, "", err
		}
		return a.ListAll.Do(r.Context(), filter, cursor, limit)
	}, func(l app.Listed) view {
		if filter.Stalled {
			return stalled(l)
		}
		return summary(l.Order)
	})
}

// defaultWaiting is the least wait of listed orders if the query has none. Most waits are shorter.
const defaultWaiting = time.Minute

// orderFilter reads the filter from the query. steps are those at which an order can wait.
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

// intervention is the body of a cancellation by staff.
type intervention struct {
	Reason string `json:"reason" validate:"required,line,max=200"`
}

// retried is the body of a retry. It may be left out.
type retried struct {
	Reason string `json:"reason,omitempty" validate:"line,max=200"`
}

// retry answers POST /v1/ops/orders/{id}/retry.
func (a API) retry(r *http.Request) (request.Answer, error) {
	var body retried
	in, err := intervene(r, users.PermissionOpsWrite, &body, request.DecodeOptional)
	if err != nil {
		return request.Answer{}, err
	}
	in.Reason = body.Reason
	return intervened(a.Retry.Do(r.Context(), in))
}

// cancelByStaff answers POST /v1/ops/orders/{id}/cancel.
func (a API) cancelByStaff(r *http.Request) (request.Answer, error) {
	var body intervention
	in, err := intervene(r, users.PermissionOpsWrite, &body, request.Decode)
	if err != nil {
		return request.Answer{}, err
	}
	in.Reason = body.Reason
	return intervened(a.CancelByStaff.Do(r.Context(), in))
}

// intervene reads who wants to change which order, the key of the request, if any, and its body.
func intervene(r *http.Request, permission string, body any, decode func(*http.Request, any, ...request.Option) error) (app.Intervention, error) {
	caller, err := service.Require(r, permission)
	if err != nil {
		return app.Intervention{}, err
	}
	orderID, err := pathID(r)
	if err != nil {
		return app.Intervention{}, err
	}
	in := app.Intervention{OrderID: orderID, By: caller.Subject}
	if in.Key, err = request.OptionalIdempotencyKey(r); err != nil {
		return app.Intervention{}, err
	}
	return in, decode(r, body)
}

// intervened answers an intervention with its result.
func intervened(order *domain.Order, err error) (request.Answer, error) {
	if err != nil {
		return request.Answer{}, err
	}
	return request.Accepted("", accepted{ID: order.ID, Status: order.Status}), nil
}

// auditWait is how long one request waits for the end of the audit. The caller repeats the request while the report is not
// complete.
const auditWait = 10 * time.Second

// audit answers GET /v1/ops/audit.
func (a API) audit(r *http.Request) (request.Answer, error) {
	if _, err := service.Require(r, users.PermissionOpsRead); err != nil {
		return request.Answer{}, err
	}
	return request.OK(a.Audit.Run(r.Context(), auditWait)), nil
}

// breakers answers POST /internal/breakers.
func (a API) breakers(_ *http.Request) (request.Answer, error) {
	return request.OK(map[string]any{"breakers": a.Breakers()}), nil
}
