package ops

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"caravan/internal/problem"
)

// A request with an unknown filter must not get everything.
func TestAQueryIsRefused(t *testing.T) {
	o := &Operations{}
	for path, handle := range map[string]func(http.ResponseWriter, *http.Request) error{
		"/v1/ops/services?name=orders": o.ListServices, "/v1/ops/breakers?name=orders": o.ListBreakers,
	} {
		err := handle(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		if p := problem.From(err); p.Status != 400 || len(p.Errors) != 1 || p.Errors[0].Field != "name" {
			t.Errorf("%s: %v", path, err)
		}
	}
}
