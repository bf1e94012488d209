// Package api serves the dead letters of a consumer to staff over HTTP.
package api

import (
	"net/http"

	"caravan/internal/deadletter"
	"caravan/internal/request"
)

// Path is where the routes of the first consumer are; another one needs a path of its own at the gateway.
const Path = "/v1/ops/dead-letters"

// Route is one route for staff.
type Route struct {
	// Pattern is a pattern as for service.Public.
	Pattern string
	// Write means that the caller needs the permission to change dead letters, not only to read them.
	Write bool
	// Handle answers a request of the user with the id in by.
	Handle func(r *http.Request, by string) (request.Answer, error)
}

// api answers requests about the letters of a queue.
type api struct{ queue *deadletter.Queue }

// batches answers requests about the batches of one kind.
type batches struct {
	queue *deadletter.Queue
	kind  deadletter.BatchKind
	path  string // of the batches of this kind, for Location
}

// Routes lists the routes of a queue below path.
func Routes(q *deadletter.Queue, path string) []Route {
	a := api{q}
	routes := []Route{
		{Pattern: "GET " + path + "?status&consumer&topic&type&reason&since&until&limit&cursor", Handle: a.list},
		{Pattern: "GET " + path + "/{id}", Handle: a.show},
		{Pattern: "POST " + path + "/{id}/replay", Write: true, Handle: a.replay},
		{Pattern: "POST " + path + "/{id}/discard", Write: true, Handle: a.discard},
	}
	for _, kind := range []deadletter.BatchKind{deadletter.BatchReplay, deadletter.BatchDiscard} {
		start := path + "/" + string(kind)
		b := batches{q, kind, start + "s"}
		routes = append(routes,
			Route{Pattern: "POST " + start, Write: true, Handle: b.start},
			Route{Pattern: "GET " + b.path + "?limit&cursor", Handle: b.list},
			Route{Pattern: "GET " + b.path + "/{id}", Handle: b.show},
			Route{Pattern: "POST " + b.path + "/{id}/cancel", Write: true, Handle: b.cancel},
		)
	}
	return routes
}
