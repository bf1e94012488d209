package apicheck

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"caravan/gateway/route"
	"caravan/internal/clock"
	"caravan/internal/id"
	"caravan/internal/service"
	"caravan/internal/sidecar"
	"caravan/internal/telemetry"
	notifications "caravan/services/notifications/assembly"
	orders "caravan/services/orders/assembly"
	payments "caravan/services/payments/assembly"
	products "caravan/services/products/assembly"
	users "caravan/services/users/assembly"
)

// stated is the description of the API: in two files, and by the services.
type stated struct {
	document, routes string
	services         map[string][]service.Registration
	parsed           *Document // of document
}

func readStated(t *testing.T) stated {
	t.Helper()
	read := func(name string) string {
		raw, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	s := stated{document: read(documentFile), routes: read(routesFile), services: registrations(t)}
	s.parse(t)
	return s
}

// registrations builds every service, as its main does, and returns its routes.
func registrations(t *testing.T) map[string][]service.Registration {
	t.Helper()
	t.Chdir(filepath.Join("..", ".."))
	all := make(map[string][]service.Registration)
	for app, build := range map[string]service.Build{
		"users": users.Build, "products": products.Build, "orders": orders.Build, "payments": payments.Build, "notifications": notifications.Build,
	} {
		tel, err := telemetry.New(t.Context(), app, func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		settings := map[string]string{"app.token": "a"}
		if app == "users" {
			settings["keys.dir"], settings["bootstrap.email"], settings["bootstrap.password"] = t.TempDir(), "a@caravan.example", "correct horse"
		}
		log := slog.New(slog.DiscardHandler)
		s, err := service.New(t.Context(), app, service.Surroundings{
			Settings: settings, Log: log, Clock: clock.System{}, IDs: id.Random{}, Jitter: func() float64 { return 0 }, Telemetry: tel,
			Sidecar: sidecar.Over(sidecar.Options{AppID: app, Host: "nowhere", AppToken: "a", Log: log, Clock: clock.System{}}, nil, nil),
		}, build)
		if err != nil {
			t.Fatal(err)
		}
		all[app] = s.Registrations()
	}
	return all
}

func (s stated) disagreements(t *testing.T) []string {
	t.Helper()
	table, err := route.Parse([]byte(s.routes), route.Known{})
	if err != nil {
		t.Fatal(err)
	}
	return s.parsed.Disagreements(table, s.services)
}

func (s *stated) parse(t *testing.T) {
	t.Helper()
	var err error
	if s.parsed, err = Parse(t.Context(), []byte(s.document)); err != nil {
		t.Fatal(err)
	}
}

// The document and the services have the same operations, access and parameters.
func TestDocumentRoutesAndServicesAgree(t *testing.T) {
	for _, difference := range readStated(t).disagreements(t) {
		t.Error(difference)
	}
}

// Each difference is found, and its place is named.
func TestEveryDisagreementIsNamed(t *testing.T) {
	real := readStated(t)
	inDocument := func(from, to string) func(*stated) {
		return func(s *stated) {
			s.document = change(t, s.document, from, to)
			s.parse(t)
		}
	}
	inRoutes := func(from, to string) func(*stated) {
		return func(s *stated) { s.routes = change(t, s.routes, from, to) }
	}
	inService := func(app, path string, spoil func(*service.Registration)) func(*stated) {
		return func(s *stated) {
			i := slices.IndexFunc(s.services[app], func(r service.Registration) bool { return r.Path == path && r.Verb != "Internal" })
			spoil(&s.services[app][i])
		}
	}
	for name, test := range map[string]struct {
		spoil func(*stated)
		want  string
	}{
		"a service that is not described": {inService("payments", "/v1/wallet", func(r *service.Registration) { r.Path = "/v1/purse" }),
			"GET /v1/purse: services/payments/adapters/http.go registers it and gateway/openapi.yaml does not describe it"},
		"a description without a route": {inRoutes("path: /v1/wallet,", "path: /v1/purse,"), "GET /v1/wallet: gateway/openapi.yaml describes it and gateway/routes.yaml does not route it; run: go generate"},
		"a description without a service": {inService("payments", "/v1/wallet", func(r *service.Registration) { r.Verb = "Internal" }),
			"GET /v1/wallet: gateway/openapi.yaml describes it as answered by payments and services/payments/adapters/http.go does not register it"},
		"another method": {inService("orders", "/v1/orders/{id}/cancel", func(r *service.Registration) { r.Method = "PUT" }),
			"PUT /v1/orders/{id}/cancel: services/orders/adapters/http.go registers it"},
		"another service":              {inRoutes("path: /v1/wallet, app: payments", "path: /v1/wallet, app: orders"), "GET /v1/wallet: services/payments/adapters/http.go registers it and the x-route of gateway/openapi.yaml has app: orders"},
		"a token that nobody reads":    {inService("users", "/v1/users/me", func(r *service.Registration) { r.Verb = "Anonymous" }), "GET /v1/users/me: services/users/adapters/http.go registers it by Anonymous"},
		"a body that is not taken":     {inDocument("operationId: getWallet\n", "operationId: getWallet\n      requestBody: { $ref: \"#/components/requestBodies/Registration\" }\n"), "GET /v1/wallet: gateway/openapi.yaml has a body"},
		"a wait that is not described": {inDocument("    Wait:\n      name: wait\n", "    Wait:\n      name: hold\n"), "GET /v1/orders/{id}: gateway/openapi.yaml has the query parameters [hold]"},
		"a query that is not known": {inService("products", "/v1/products", func(r *service.Registration) { delete(r.Parameters, "q") }),
			"GET /v1/products: gateway/openapi.yaml has the query parameters map[category:false cursor:false limit:false q:false], services/products/adapters/http.go has map[category:false cursor:false limit:false]"},
		"a query that may be empty": {inDocument("          allowEmptyValue: true\n", ""), "GET /v1/ops/orders: gateway/openapi.yaml has the query parameters"},
		"a status that must be":     {inDocument("        <<: [*signedIn, *absent]\n        \"200\":\n          description: The order.", "        <<: [*signedIn]\n        \"200\":\n          description: The order."), "GET /v1/orders/{id}: gateway/openapi.yaml lacks the answer 404"},
	} {
		t.Run(name, func(t *testing.T) {
			spoilt := real
			spoilt.services = make(map[string][]service.Registration)
			for app, routes := range real.services {
				for _, r := range routes {
					r.Parameters = maps.Clone(r.Parameters)
					spoilt.services[app] = append(spoilt.services[app], r)
				}
			}
			test.spoil(&spoilt)
			found := spoilt.disagreements(t)
			if !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, test.want) }) {
				t.Errorf("it found %q; want %q", found, test.want)
			}
		})
	}
}

// change replaces the first occurrence of a text, which must exist.
func change(t *testing.T, in, from, to string) string {
	t.Helper()
	if !strings.Contains(in, from) {
		t.Fatalf("there is no %q to change", from)
	}
	return strings.Replace(in, from, to, 1)
}
