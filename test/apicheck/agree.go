package apicheck

import (
	"fmt"
	"maps"
	"slices"
	"strings"

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

// Disagreements compares the document with the gateway's table and with the routes that the services register, by app.
// Each difference is a sentence that names the operation, and the files of which one has to change.
func (d *Document) Disagreements(table *route.Table, registered map[string][]service.Registration) []string {
	c := &comparison{document: d}
	described := d.named()
	routed := make(map[string]*route.Route)
	for _, r := range table.Routes() {
		routed[r.Name] = r
		if described[r.Name] == nil {
			c.differ(r.Name, "%s routes it and %s does not describe it", routesFile, documentFile)
			continue
		}
		c.described(described[r.Name], r)
	}
	for _, name := range slices.Sorted(maps.Keys(described)) {
		if routed[name] == nil {
			c.differ(name, "%s describes it and %s does not route it", documentFile, routesFile)
		}
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

type comparison struct {
	document *Document
	found    []string
}

func (c *comparison) differ(name, format string, args ...any) {
	c.found = append(c.found, name+": "+fmt.Sprintf(format, args...))
}

// described compares an operation of the document with its route.
func (c *comparison) described(o *operation, r *route.Route) {
	differ := func(what string, document, table any) {
		c.differ(r.Name, "%s has %s %v, %s has %v", documentFile, what, document, routesFile, table)
	}
	if document, table := c.document.access(o), routeAccess(r.Access); document != table {
		differ("the access", document, table)
	}
	if document, table := names(o.in("path")), r.Params(); !slices.Equal(document, table) {
		differ("the path parameters", document, table)
	}
	keyed := slices.Contains(names(o.in("header")), request.IdempotencyHeader)
	if keyed != (r.Retry == route.RetryKeyed) {
		differ("an Idempotency-Key:", keyed, "retry: "+string(r.Retry))
	}
	if o.RequestBody != nil && r.Body == 0 {
		differ("a body, of at most", "any size", r.Body)
	}
	if r.Long != nil && !slices.Contains(names(o.in("query")), r.Long.Parameter) {
		differ("the query parameters", names(o.in("query")), "long: "+r.Long.Parameter)
	}
	for status, need := range map[string]bool{
		"400": r.App != route.Gateway, "429": r.Rate != route.Unlimited, "503": r.App != route.Gateway,
		"401": r.Access.Kind != route.Public, "403": refusable(r.Access), "413": r.Body > 0, "404": len(r.Params()) > 0,
	} {
		if need && o.Responses.Value(status) == nil {
			c.differ(r.Name, "%s lacks the answer %s, which follows from %s", documentFile, status, routesFile)
		}
	}
}

// refusable reports whether some users lack the needed permissions. If every role has them, no user does.
func refusable(a route.Access) bool {
	return slices.ContainsFunc(a.Permissions, func(p string) bool {
		return slices.ContainsFunc(users.Roles(), func(role string) bool { return !slices.Contains(users.PermissionsOf([]string{role}), p) })
	})
}

// access returns what a caller needs, in the words of the routes.
func (d *Document) access(o *operation) string {
	requirements := d.spec.Security
	if o.Security != nil {
		requirements = *o.Security
	}
	switch {
	case len(requirements) == 0:
		return route.Public.String()
	case len(requirements) == 2 && len(requirements[0]) == 0:
		return route.Optional.String()
	case len(requirements[0]["bearer"]) == 0:
		return route.SignedIn.String()
	}
	return permissions(requirements[0]["bearer"])
}

func routeAccess(a route.Access) string {
	if a.Kind == route.Permitted {
		return permissions(a.Permissions)
	}
	return a.Kind.String()
}

func permissions(names []string) string {
	return "[" + strings.Join(slices.Sorted(slices.Values(names)), ", ") + "]"
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
			case routed[name] == nil:
				c.differ(name, "%s registers it and %s does not route it", serviceFile(app), routesFile)
			case routed[name].App != app:
				c.differ(name, "%s registers it and %s routes it to %s", serviceFile(app), routesFile, routed[name].App)
			default:
				answered[name] = true
				c.registration(serviceFile(app), r, routed[name], described[name])
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(routed)) {
		if app := routed[name].App; app != route.Gateway && !answered[name] {
			c.differ(name, "%s routes it to %s and %s does not register it", routesFile, app, serviceFile(app))
		}
	}
}

func (c *comparison) registration(file string, r service.Registration, to *route.Route, o *operation) {
	// The gateway forwards no token to a public route, so Public and Anonymous have the same effect there.
	if r.Verb == "Anonymous" && to.Access.Kind != route.Public {
		c.differ(to.Name, "%s registers it by Anonymous, which reads no token, and its access in %s is %s", file, routesFile, routeAccess(to.Access))
	}
	if o == nil {
		return // which is reported separately
	}
	documented := make(request.Parameters)
	for _, p := range o.in("query") {
		documented[p.Name] = p.AllowEmptyValue
	}
	if !maps.Equal(documented, r.Parameters) {
		c.differ(to.Name, "%s has the query parameters %v, %s has %v; true are those that may be empty", documentFile, documented, file, r.Parameters)
	}
}
