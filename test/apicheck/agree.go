package apicheck

import (
	"fmt"
	"maps"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"

	"caravan/gateway/route"
	"caravan/internal/request"
	"caravan/internal/service"
	users "caravan/services/users/contract"
)

// The files that describe the API.
const (
	documentFile = "gateway/openapi.yaml"
	routesFile   = "gateway/routes.yaml"
)

// serviceFile returns the file in which a service registers its routes.
func serviceFile(app string) string { return "services/" + app + "/adapters/http.go" }

// Disagreements compares the document with the routes that the services register, by app, and with what the gateway's
// table says beyond the document. Each difference is a sentence that names the operation, and the files of which one has to
// change.
func (d *Document) Disagreements(table *route.Table, registered map[string][]service.Registration) []string {
	c := &comparison{}
	routed := make(map[string]*route.Route)
	for _, r := range table.Routes() {
		routed[r.Name] = r
	}
	described := d.named()
	for _, name := range slices.Sorted(maps.Keys(described)) {
		if routed[name] == nil {
			c.differ(name, "%s describes it and %s does not route it; run: go generate ./gateway/...", documentFile, routesFile)
		}
	}
	if len(c.found) > 0 {
		return c.found // the rest would be about outdated routes
	}
	for _, name := range slices.Sorted(maps.Keys(described)) {
		c.described(described[name], routed[name])
	}
	c.registered(described, routed, registered)
	return c.found
}

// named returns the operations of the document by "METHOD /path", with the parameters of their paths.
func (d *Document) named() map[string]*operation {
	all := make(map[string]*operation)
	for path, item := range d.spec.Paths.Map() {
		for method, o := range item.Operations() {
			all[method+" "+path] = &operation{Operation: o, parameters: slices.Concat(item.Parameters, o.Parameters)}
		}
	}
	return all
}

// operation is one operation of the document with all its parameters.
type operation struct {
	*openapi3.Operation
	parameters openapi3.Parameters
}

// in returns the parameters of a place.
func (o *operation) in(place string) []*openapi3.Parameter {
	var some []*openapi3.Parameter
	for _, p := range o.parameters {
		if p.Value.In == place {
			some = append(some, p.Value)
		}
	}
	return some
}

func names(parameters []*openapi3.Parameter) []string {
	var all []string
	for _, p := range parameters {
		all = append(all, p.Name)
	}
	return all
}

type comparison struct{ found []string }

func (c *comparison) differ(name, format string, args ...any) {
	c.found = append(c.found, name+": "+fmt.Sprintf(format, args...))
}

// described compares an operation of the document with its route. The route is generated from the document, so this is only
// about what an author can get wrong there.
func (c *comparison) described(o *operation, r *route.Route) {
	if o.RequestBody != nil && r.Body == 0 {
		c.differ(r.Name, "%s has a body, which a %s cannot have", documentFile, r.Method)
	}
	if r.Long != nil && !slices.Contains(names(o.in("query")), r.Long.Parameter) {
		c.differ(r.Name, "%s has the query parameters %v, and its x-route has long: %s", documentFile, names(o.in("query")), r.Long.Parameter)
	}
	for status, need := range map[string]bool{
		"400": r.App != route.Gateway, "429": r.Rate != route.Unlimited, "503": r.App != route.Gateway,
		"401": r.Access.Kind != route.Public, "403": refusable(r.Access), "413": r.Body > 0, "404": len(r.Params()) > 0, "304": r.Cache != nil,
	} {
		if need && o.Responses.Value(status) == nil {
			c.differ(r.Name, "%s lacks the answer %s, which follows from its security, parameters or x-route", documentFile, status)
		}
	}
}

// refusable reports whether some users lack the needed permissions. If every role has them, no user does.
func refusable(a route.Access) bool {
	return slices.ContainsFunc(a.Permissions, func(p string) bool {
		return slices.ContainsFunc(users.Roles(), func(role string) bool { return !slices.Contains(users.PermissionsOf([]string{role}), p) })
	})
}

// registered compares the routes of the services with the document and the gateway's table.
func (c *comparison) registered(described map[string]*operation, routed map[string]*route.Route, apps map[string][]service.Registration) {
	answered := make(map[string]bool)
	for _, app := range slices.Sorted(maps.Keys(apps)) {
		for _, r := range apps[app] {
			if r.Verb == "Internal" {
				continue
			}
			name := r.Method + " " + r.Path
			switch {
			case described[name] == nil:
				c.differ(name, "%s registers it and %s does not describe it", serviceFile(app), documentFile)
			case routed[name].App != app:
				c.differ(name, "%s registers it and the x-route of %s has app: %s", serviceFile(app), documentFile, routed[name].App)
			default:
				answered[name] = true
				c.registration(serviceFile(app), r, routed[name], described[name])
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(described)) {
		if app := routed[name].App; app != route.Gateway && !answered[name] {
			c.differ(name, "%s describes it as answered by %s and %s does not register it", documentFile, app, serviceFile(app))
		}
	}
}

func (c *comparison) registration(file string, r service.Registration, to *route.Route, o *operation) {
	// The gateway forwards no token to a public route, so Public and Anonymous have the same effect there.
	if r.Verb == "Anonymous" && to.Access.Kind != route.Public {
		c.differ(to.Name, "%s registers it by Anonymous, which reads no token, and by %s it needs one or takes one", file, documentFile)
	}
	documented := make(request.Parameters)
	for _, p := range o.in("query") {
		documented[p.Name] = p.AllowEmptyValue
	}
	if !maps.Equal(documented, r.Parameters) {
		c.differ(to.Name, "%s has the query parameters %v, %s has %v; true are those that may be empty", documentFile, documented, file, r.Parameters)
	}
}
