package service

import (
	"net/http"

	"caravan/internal/request"
)

// Routes registers the routes of a service's adapters. *Service implements it, and in tests servicetest.Server.
type Routes interface {
	// Public registers a route for the gateway; see Service.Public.
	Public(pattern string, h request.Handler)
	// Long registers a public route without a time limit; see Service.Long.
	Long(pattern string, h request.Handler)
	// Anonymous registers a public route that reads no access token; see Service.Anonymous.
	Anonymous(pattern string, h request.Handler)
	// Internal registers a route for other services; see Service.Internal.
	Internal(pattern string, h request.Handler)
}

// Registration is a registered route.
type Registration struct {
	// Verb is the method that registered it: Public, Long, Anonymous or Internal.
	Verb string
	// Method and Path are those of its pattern.
	Method, Path string
	// Parameters are the query parameters it knows.
	Parameters request.Parameters
}

// Registrations lists the routes for the gateway and for other services, in the order of their registration.
func (s *Service) Registrations() []Registration {
	var all []Registration
	for _, rt := range s.routes {
		if rt.kind == kindEvent {
			continue
		}
		method, path := rt.split()
		all = append(all, Registration{Verb: rt.kind.String(), Method: method, Path: path, Parameters: rt.parameters})
	}
	return all
}

// WithProblems returns routes that pass each error of a handler through problemOf. A service uses it to turn the errors
// of its domain and use cases into problems in one place. problemOf returns other errors unchanged.
func WithProblems(routes Routes, problemOf func(error) error) Routes {
	return problemRoutes{routes, problemOf}
}

type problemRoutes struct {
	routes    Routes
	problemOf func(error) error
}

func (p problemRoutes) Public(pattern string, h request.Handler) { p.routes.Public(pattern, p.wrap(h)) }
func (p problemRoutes) Long(pattern string, h request.Handler)   { p.routes.Long(pattern, p.wrap(h)) }
func (p problemRoutes) Anonymous(pattern string, h request.Handler) {
	p.routes.Anonymous(pattern, p.wrap(h))
}
func (p problemRoutes) Internal(pattern string, h request.Handler) {
	p.routes.Internal(pattern, p.wrap(h))
}

func (p problemRoutes) wrap(h request.Handler) request.Handler {
	return func(r *http.Request) (request.Answer, error) {
		answer, err := h(r)
		if err != nil {
			return request.Answer{}, p.problemOf(err)
		}
		return answer, nil
	}
}
