package route

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Defaults and limits of a route's settings.
const (
	defaultBody    = 64 << 10
	maxBody        = 16 << 20
	defaultTimeout = 10 * time.Second
	maxTimeout     = 2 * time.Minute
)

// The classes of routes that name none. They must exist in the rate configuration.
const (
	// PublicRate is the class of public and optional routes, counted by client address, or by subject if it is known.
	PublicRate = "public"
	// SignedInRate is the class of all other routes, counted by subject.
	SignedInRate = "signedIn"
)

var methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE"}

// Known lists the names that a route file may use. A nil list accepts every well-formed name.
type Known struct {
	Rates       []string
	Permissions []string
}

// Parse reads a route file. It is strict: an unknown key, app, access, rate class or permission, a duplicate or
// conflicting route, or a missing decision is an error that names the line. All errors are reported together.
func Parse(source []byte, known Known) (*Table, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(source, &document); err != nil {
		return nil, fmt.Errorf("parsing the routes: %w", err)
	}
	if len(document.Content) != 1 {
		return nil, errors.New("parsing the routes: the file is empty")
	}
	p := parser{known: known}
	top := p.fields(document.Content[0], "the file", "apps", "routes")
	p.table.apps = p.names(top["apps"], "apps")
	if top["routes"] == nil || top["routes"].Kind != yaml.SequenceNode || len(top["routes"].Content) == 0 {
		p.fail(document.Content[0], "routes must be a list with at least one entry")
	} else {
		for _, item := range top["routes"].Content {
			p.route(item)
		}
	}
	if len(p.problems) > 0 {
		return nil, fmt.Errorf("parsing the routes: %w", errors.Join(p.problems...))
	}
	return &p.table, nil
}

type parser struct {
	known    Known
	table    Table
	problems []error
}

func (p *parser) fail(at *yaml.Node, format string, args ...any) {
	p.problems = append(p.problems, fmt.Errorf("line %d: %s", at.Line, fmt.Sprintf(format, args...)))
}

func (p *parser) route(item *yaml.Node) {
	before := len(p.problems)
	f := p.fields(item, "a route", "method", "path", "app", "access", "rate", "body", "timeout", "retry", "long", "stream", "cache")
	r := &Route{Line: item.Line}
	r.Method = p.choice(item, f, "method", methods)
	r.Pattern, r.segments = p.pattern(item, f["path"])
	r.Name = r.Method + " " + r.Pattern
	r.App = p.choice(item, f, "app", append([]string{Gateway}, p.table.apps...))
	r.Access = p.access(item, f["access"])
	r.Rate = p.rate(f["rate"], r.Access.Kind)
	r.Body = p.body(f["body"], r.Method)
	r.Timeout = p.duration(f["timeout"], defaultTimeout)
	r.Retry = p.retry(f["retry"], r.Method)
	r.Long = p.long(f["long"], r)
	r.Stream = p.stream(f["stream"], r)
	r.Cache = p.cache(f["cache"], r)
	if len(p.problems) > before {
		return
	}
	if err := p.table.add(r); err != nil {
		p.fail(item, "%v", err)
	}
}

// fields returns the values of a mapping by key and refuses unknown and repeated keys.
func (p *parser) fields(n *yaml.Node, what string, allowed ...string) map[string]*yaml.Node {
	found := make(map[string]*yaml.Node)
	if n.Kind != yaml.MappingNode {
		p.fail(n, "%s must be a mapping with the keys %s", what, strings.Join(allowed, ", "))
		return found
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case !slices.Contains(allowed, key.Value):
			p.fail(key, "unknown key %q; the keys of %s are %s", key.Value, what, strings.Join(allowed, ", "))
		case found[key.Value] != nil:
			p.fail(key, "key %q appears twice", key.Value)
		default:
			found[key.Value] = value
		}
	}
	return found
}

// names reads a non-empty list of distinct words.
func (p *parser) names(n *yaml.Node, what string) []string {
	if n == nil || n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		at := n
		if at == nil {
			at = &yaml.Node{Line: 1}
		}
		p.fail(at, "%s must be a list of names", what)
		return nil
	}
	var names []string
	for _, item := range n.Content {
		switch {
		case item.Kind != yaml.ScalarNode || !word(item.Value):
			p.fail(item, "%q is not a name", item.Value)
		case slices.Contains(names, item.Value) || item.Value == Gateway:
			p.fail(item, "%s names %q twice", what, item.Value)
		default:
			names = append(names, item.Value)
		}
	}
	return names
}

func (p *parser) choice(item *yaml.Node, f map[string]*yaml.Node, key string, allowed []string) string {
	n := f[key]
	if n == nil {
		p.fail(item, "a route needs a %s", key)
		return ""
	}
	if n.Kind != yaml.ScalarNode || !slices.Contains(allowed, n.Value) {
		p.fail(n, "unknown %s %q; known are %s", key, n.Value, strings.Join(allowed, ", "))
		return ""
	}
	return n.Value
}

// pattern reads a path such as /v1/orders/{id}/cancel.
func (p *parser) pattern(item, n *yaml.Node) (string, []segment) {
	if n == nil || n.Kind != yaml.ScalarNode {
		p.fail(item, "a route needs a path")
		return "", nil
	}
	if path, query, err := SplitTarget(strings.NewReplacer("{", "", "}", "").Replace(n.Value)); err != nil || query != "" ||
		strings.HasSuffix(path, "/") || strings.Contains(path, "%") {
		p.fail(n, "path %q is not a plain absolute path", n.Value)
		return "", nil
	}
	if reserved(n.Value) {
		p.fail(n, "path %q belongs to the inside: clients must not reach it", n.Value)
	}
	var segments []segment
	params := make(map[string]bool)
	for part := range strings.SplitSeq(n.Value[1:], "/") {
		name, isParam := strings.CutPrefix(part, "{")
		if !isParam {
			if strings.ContainsAny(part, "{}") {
				p.fail(n, "path %q: a parameter is a whole segment", n.Value)
			}
			segments = append(segments, segment{text: part})
			continue
		}
		name, closed := strings.CutSuffix(name, "}")
		if !closed || !word(name) || params[name] {
			p.fail(n, "path %q: bad or repeated parameter %q", n.Value, part)
		}
		params[name] = true
		segments = append(segments, segment{text: name, param: true})
	}
	if len(params) > maxParams {
		p.fail(n, "path %q has more than %d parameters", n.Value, maxParams)
	}
	return n.Value, segments
}

// reserved reports whether a path is one that only sidecars and other services may call. A route of the gateway must
// name neither a Dapr callback nor an internal path.
func reserved(path string) bool {
	for _, prefix := range []string{"/internal", "/events", "/dapr", "/v1.0", "/job", "/actors", "/healthz/outbound"} {
		if path == prefix || strings.HasPrefix(path, prefix+"/") {
			return true
		}
	}
	return false
}

func (p *parser) access(item, n *yaml.Node) Access {
	switch {
	case n == nil:
		p.fail(item, "a route needs an access: public, optional, signedIn or a list of permissions")
	case n.Kind == yaml.ScalarNode && n.Value == Public.String():
		return Access{Kind: Public}
	case n.Kind == yaml.ScalarNode && n.Value == Optional.String():
		return Access{Kind: Optional}
	case n.Kind == yaml.ScalarNode && n.Value == SignedIn.String():
		return Access{Kind: SignedIn}
	case n.Kind == yaml.SequenceNode && len(n.Content) > 0:
		return Access{Kind: Permitted, Permissions: p.permissions(n)}
	default:
		p.fail(n, "unknown access %q; known are public, optional, signedIn and a list of permissions", n.Value)
	}
	return Access{}
}

func (p *parser) permissions(n *yaml.Node) []string {
	var names []string
	for _, item := range n.Content {
		switch {
		case item.Kind != yaml.ScalarNode || !permissionPattern.MatchString(item.Value):
			p.fail(item, "%q is not a permission; one looks like orders:refund", item.Value)
		case p.known.Permissions != nil && !slices.Contains(p.known.Permissions, item.Value):
			p.fail(item, "unknown permission %q; known are %s", item.Value, strings.Join(p.known.Permissions, ", "))
		case slices.Contains(names, item.Value):
			p.fail(item, "permission %q appears twice", item.Value)
		default:
			names = append(names, item.Value)
		}
	}
	return names
}

func (p *parser) rate(n *yaml.Node, kind Kind) string {
	if n == nil {
		if kind == Public || kind == Optional {
			return PublicRate
		}
		return SignedInRate
	}
	known := n.Kind == yaml.ScalarNode && word(n.Value) &&
		(p.known.Rates == nil || n.Value == Unlimited || slices.Contains(p.known.Rates, n.Value))
	if !known {
		p.fail(n, "unknown rate class %q; known are %s, %s", n.Value, Unlimited, strings.Join(p.known.Rates, ", "))
	}
	return n.Value
}

func (p *parser) body(n *yaml.Node, method string) int64 {
	carries := method == "POST" || method == "PUT" || method == "PATCH"
	if n == nil {
		if carries {
			return defaultBody
		}
		return 0
	}
	number, isKiB := strings.CutSuffix(n.Value, "KiB")
	size, err := strconv.ParseInt(number, 10, 32)
	if isKiB {
		size <<= 10
	}
	if err != nil || size < 1 || size > maxBody || !carries {
		p.fail(n, "body %q must be bytes or KiB, from 1 to 16384KiB, and belongs to POST, PUT and PATCH", n.Value)
	}
	return size
}

func (p *parser) duration(n *yaml.Node, absent time.Duration) time.Duration {
	if n == nil {
		return absent
	}
	d, err := time.ParseDuration(n.Value)
	if err != nil || d < 10*time.Millisecond || d > maxTimeout {
		p.fail(n, "duration %q must be from 10ms to %s", n.Value, maxTimeout)
	}
	return d
}

func (p *parser) retry(n *yaml.Node, method string) Retry {
	if n == nil {
		return RetryNever
	}
	switch retry := Retry(n.Value); {
	case retry != RetrySafe && retry != RetryKeyed:
		p.fail(n, "retry must be safe or keyed")
	case retry == RetrySafe && method != "GET":
		p.fail(n, "only GET is safe to be sent twice: a second %s could do its work twice", method)
	case retry == RetryKeyed && method == "GET":
		p.fail(n, "a GET needs no key to be sent twice: retry must be safe")
	default:
		return retry
	}
	return RetryNever
}

func (p *parser) long(n *yaml.Node, r *Route) *Long {
	if n == nil {
		return nil
	}
	f := p.fields(n, "long", "parameter", "max")
	if f["parameter"] == nil || !word(f["parameter"].Value) || f["max"] == nil {
		p.fail(n, "long needs a parameter and a max")
		return nil
	}
	if r.Method != "GET" && r.Retry != RetryKeyed {
		p.fail(n, "only GET, and what has retry: keyed, may be held open")
	}
	return &Long{Parameter: f["parameter"].Value, Max: p.duration(f["max"], 0)}
}

func (p *parser) stream(n *yaml.Node, r *Route) bool {
	if n == nil {
		return false
	}
	if n.Value != "true" || r.Method != "GET" || r.Long != nil || r.App == Gateway {
		p.fail(n, "stream must be true, for a GET that a service answers and that is not long")
	}
	return true
}

// wordPattern is a name: letters, digits and inner hyphens, beginning with a letter. permissionPattern is area:action or
// area:action:scope.
var (
	wordPattern       = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,63}$`)
	permissionPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,63}(:[A-Za-z][A-Za-z0-9-]{0,63}){1,2}$`)
)

func word(s string) bool { return wordPattern.MatchString(s) }
