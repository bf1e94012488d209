package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxParams is how many parameters one pattern may have.
const maxParams = 4

// ErrNotFound means that no route has the path.
var ErrNotFound = errors.New("no route has this path")

// MethodError means that the path exists, but not for the request's method.
type MethodError struct{ Allow string } // the methods that exist, in the form of the Allow header

// Error names the methods that exist.
func (e *MethodError) Error() string { return "the path allows " + e.Allow }

// Table is an immutable set of routes. It is safe for concurrent use.
type Table struct {
	apps   []string
	routes []*Route
	root   node
}

// node is the set of patterns with a common beginning.
type node struct {
	literal map[string]*node
	param   *node
	name    string // name of param, and the line that has it
	line    int
	methods map[string]*Route
	refusal *MethodError // made once: an unknown method costs no allocation
}

// Routes returns the routes in the order of the file. The slice must not be changed.
func (t *Table) Routes() []*Route { return t.routes }

// Apps returns the Dapr app ids of the services behind the gateway, in the order of the file.
func (t *Table) Apps() []string { return t.apps }

// Match finds the route for a method and a path that SplitTarget has accepted. HEAD matches the routes of GET (RFC
// 9110, section 9.3.2). The error is ErrNotFound or a *MethodError.
func (t *Table) Match(method, path string) (Match, error) {
	var m Match
	n := t.root.find(path[1:], &m, 0)
	if n == nil {
		return Match{}, ErrNotFound
	}
	m.Route = n.methods[method]
	if m.Route == nil && method == "HEAD" {
		m.Route = n.methods["GET"]
	}
	if m.Route == nil {
		return Match{}, n.refusal
	}
	return m, nil
}

// find follows the remaining segments. It tries a literal before a parameter. If the literal leads to no route, it
// tries the parameter, so both /users/me and /users/{id}/roles can exist.
func (n *node) find(rest string, m *Match, params int) *node {
	segment, after, more := strings.Cut(rest, "/")
	if child := n.literal[segment]; child != nil {
		if found := child.descend(after, more, m, params); found != nil {
			return found
		}
	}
	if n.param == nil || !validParam(segment) {
		return nil
	}
	m.values[params] = segment
	return n.param.descend(after, more, m, params+1)
}

func (n *node) descend(rest string, more bool, m *Match, params int) *node {
	if more {
		return n.find(rest, m, params)
	}
	if n.methods == nil {
		return nil
	}
	return n
}

// add adds a route to the tree. It refuses a second route with the same method and shape. It also refuses a parameter
// that has another name in another route at the same place, which nearly always is a mistake.
func (t *Table) add(r *Route) error {
	n := &t.root
	for _, s := range r.segments {
		next, err := n.child(s, r.Line)
		if err != nil {
			return err
		}
		n = next
	}
	if other := n.methods[r.Method]; other != nil {
		return fmt.Errorf("%s is declared twice, first on line %d", r.Name, other.Line)
	}
	if n.methods == nil {
		n.methods = make(map[string]*Route)
	}
	n.methods[r.Method] = r
	n.refusal = &MethodError{Allow: allow(n.methods)}
	t.routes = append(t.routes, r)
	return nil
}

func (n *node) child(s segment, line int) (*node, error) {
	if s.param {
		if n.param == nil {
			n.param, n.name, n.line = new(node), s.text, line
		}
		if n.name != s.text {
			return nil, fmt.Errorf("parameter {%s} conflicts with {%s} on line %d", s.text, n.name, n.line)
		}
		return n.param, nil
	}
	if n.literal == nil {
		n.literal = make(map[string]*node)
	}
	if n.literal[s.text] == nil {
		n.literal[s.text] = new(node)
	}
	return n.literal[s.text], nil
}

func allow(methods map[string]*Route) string {
	var names []string
	for name := range methods {
		names = append(names, name)
		if name == "GET" {
			names = append(names, "HEAD")
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
