package adapters

import (
	"net/http"
	"time"

	"caravan/internal/page"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/sidecar"
	"caravan/services/orders/app"
	"caravan/services/orders/contract"
	users "caravan/services/users/contract"
)

// Operations serves staff, and the questions of other services.
type Operations struct {
	Operate  app.Operate
	Audit    *app.Audit
	Breakers func() []sidecar.Breaker
}

// Register adds the routes.
func (o Operations) Register(s *service.Service) {
	s.Public("GET /v1/ops/orders", o.list)
	s.Public("POST /v1/ops/orders/{id}/retry", o.retry)
	s.Stream("GET /v1/ops/audit", o.audit)
	s.Internal("POST "+contract.PathStatus, o.statuses)
	s.Internal("POST /internal/breakers", o.breakers)
}

func (o Operations) list(w http.ResponseWriter, r *http.Request) error {
	if _, err := service.Require(r, users.PermissionOpsRead); err != nil {
		return err
	}
	limit, cursor, err := request.Page(r)
	if err != nil {
		return err
	}
	orders, next, err := o.Operate.ByStatus(r.Context(), contract.Status(r.URL.Query().Get("status")), cursor, limit)
	if err != nil {
		return err
	}
	request.Respond(w, http.StatusOK, page.List[view]{Items: summaries(orders), Next: next})
	return nil
}

func (o Operations) retry(w http.ResponseWriter, r *http.Request) error {
	if _, err := service.Require(r, users.PermissionOpsWrite); err != nil {
		return err
	}
	order, err := o.Operate.Retry(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	request.Respond(w, http.StatusAccepted, accepted{ID: order.ID, Status: order.Status})
	return nil
}

// auditPatience is how long one request waits for the audit's end; the caller
// asks again for a report that is not complete.
const auditPatience = 10 * time.Second

func (o Operations) audit(w http.ResponseWriter, r *http.Request) error {
	if _, err := service.Require(r, users.PermissionOpsRead); err != nil {
		return err
	}
	report, err := o.Audit.Run(r.Context(), auditPatience)
	if err != nil {
		return err
	}
	request.Respond(w, http.StatusOK, report)
	return nil
}

func (o Operations) statuses(w http.ResponseWriter, r *http.Request) error {
	var body contract.StatusRequest
	if err := request.Decode(w, r, &body); err != nil {
		return err
	}
	if len(body.OrderIDs) > contract.MaxStatusIDs {
		return problem.Invalid(problem.FieldError{Field: "orderIds", Code: "max", Message: "holds too many ids"})
	}
	states, err := o.Operate.Statuses(r.Context(), body.OrderIDs)
	if err != nil {
		return err
	}
	request.Respond(w, http.StatusOK, contract.Statuses{Statuses: states})
	return nil
}

func (o Operations) breakers(w http.ResponseWriter, _ *http.Request) error {
	request.Respond(w, http.StatusOK, map[string]any{"breakers": o.Breakers()})
	return nil
}
