package service_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/service/servicetest"
)

func TestOnlyFrom(t *testing.T) {
	var s servicetest.Server
	s.Internal("POST /internal/secret", service.OnlyFrom("mailer", func(*http.Request) (request.Answer, error) { return request.NoContent(), nil }))
	for from, want := range map[string]int{"mailer": 204, "": 403, "orders": 403, "Mailer": 403, "mailer, orders": 403} {
		q := servicetest.Request{Method: "POST", Target: "/internal/secret", Header: map[string]string{}}
		if from != "" {
			q.Header["dapr-caller-app-id"] = from
		}
		if w := s.Do(t, q); w.Code != want {
			t.Errorf("a call of %q is answered with %d; want %d", from, w.Code, want)
		}
	}
}

func TestClientAddress(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{nil, ""}, {[]string{"192.0.2.1"}, "192.0.2.1"}, {[]string{"192.0.2.1, 10.0.0.1"}, "192.0.2.1"}, {[]string{"192.0.2.1", "10.0.0.1"}, "192.0.2.1"},
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header["X-Forwarded-For"] = c.lines
		if got := service.ClientAddress(r); got != c.want {
			t.Errorf("%q is from %q", c.lines, got)
		}
	}
}
