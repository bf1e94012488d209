// Package route has the gateway's route table: which public calls exist, which service answers them and who may make
// them. The table is read strictly from routes.yaml when the gateway starts and never changes afterwards, so requests
// need no lock.
package route

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"caravan/gateway/cache"
	"caravan/internal/request"
)

// Gateway is the app name of the routes that the gateway answers itself.
const Gateway = "gateway"

// Unlimited is the rate class of a route without a limit: the probes of a load balancer must always get an answer.
const Unlimited = "none"

// Kind says what a caller must present to use a route.
type Kind int

const (
	// Undeclared is the zero Kind. No loaded route has it, so a missing decision cannot open a route.
	Undeclared Kind = iota
	// Public routes need no credentials. Credentials that a client sends are neither read nor forwarded.
	Public
	// Optional routes need no credentials, but return more to some callers. If there is an access token, it is verified
	// and forwarded, and a bad one is refused.
	Optional
	// SignedIn routes need a valid access token.
	SignedIn
	// Permitted routes need a valid access token with every permission that the route names.
	Permitted
)

// String returns the name as in routes.yaml.
func (k Kind) String() string {
	switch k {
	case Public:
		return "public"
	case Optional:
		return "optional"
	case SignedIn:
		return "signedIn"
	case Permitted:
		return "permissions"
	default:
		return "undeclared"
	}
}

// Access is a route's decision about its callers.
type Access struct {
	Kind        Kind
	Permissions []string // all of them are needed; set for Permitted only
}

// Long describes a route whose answer can be held back. Its timeout is the route's own plus the time in the query
// parameter or in the preference wait of RFC 7240, up to Max.
type Long struct {
	Parameter string
	Max       time.Duration
}

// Retry is which calls of a route may be sent once more if they were lost, although the first may have arrived. A call
// that certainly did not arrive may always be sent again.
type Retry string

// The kinds of Retry.
const (
	RetryNever Retry = ""
	RetrySafe  Retry = "safe"  // all; a GET
	RetryKeyed Retry = "keyed" // those with an Idempotency-Key, which the service honours
)

// Route is one public call. It is immutable after loading.
type Route struct {
	Name    string // "GET /v1/orders/{id}": unique, of bounded cardinality, used in logs, spans and metrics
	Method  string
	Pattern string
	App     string // Dapr app id that answers, or Gateway
	Access  Access
	Rate    string        // rate class
	Body    int64         // largest request body in bytes; 0 for methods without one
	Timeout time.Duration // time the service has to answer
	Retry   Retry         // which calls may be sent once more although the first may have arrived
	Long    *Long         // nil when the route does not hold requests
	Stream  bool          // the answer is an event stream without an end; Timeout is for its beginning
	Cache   *cache.Policy // nil when the answers are not kept
	Line    int           // line of routes.yaml that declares it

	segments []segment
}

// segment is one part of a pattern between slashes: literal text or the name of a parameter.
type segment struct {
	text  string
	param bool
}

// Params returns the names of the route's path parameters from left to right.
func (r *Route) Params() []string {
	var names []string
	for _, s := range r.segments {
		if s.param {
			names = append(names, s.text)
		}
	}
	return names
}

// TimeoutOf returns how long the service may take to answer a request with this query and these headers, and whether its
// answer is held back. A wait that cannot be read or is too long adds nothing: the service will report what is wrong with it.
func (r *Route) TimeoutOf(query string, header http.Header) (timeout time.Duration, held bool) {
	if r.Long == nil || query == "" && len(header["Prefer"]) == 0 {
		return r.Timeout, false
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return r.Timeout, false
	}
	var wait time.Duration
	if values.Has(r.Long.Parameter) {
		wait, _ = time.ParseDuration(values.Get(r.Long.Parameter))
	} else {
		wait, _ = request.PreferredWait(header, r.Long.Max)
	}
	if wait <= 0 || wait > r.Long.Max {
		return r.Timeout, false
	}
	return r.Timeout + wait, true
}

// Holding is the query with another wait.
func (r *Route) Holding(query string, wait time.Duration) string {
	values, err := url.ParseQuery(query)
	if err != nil {
		return query // the service refuses it
	}
	values.Set(r.Long.Parameter, strconv.FormatInt(wait.Milliseconds(), 10)+"ms")
	return values.Encode()
}

// Match is a route together with the path parameters of one request.
type Match struct {
	Route  *Route
	values [maxParams]string
}

// Value returns the i-th path parameter, from left to right, or "" if there is none.
func (m *Match) Value(i int) string {
	if i < 0 || i >= maxParams {
		return ""
	}
	return m.values[i]
}

// Target returns the path of the call to the service: the route's own literal segments and the validated parameters,
// never the client's text. Parameters contain only unreserved characters (RFC 3986, section 2.3), so nothing needs
// escaping.
func (m *Match) Target(prefix string) string {
	var b strings.Builder
	size, next := len(prefix), 0
	for _, s := range m.Route.segments {
		size += 1 + len(s.text)
		if s.param {
			size += len(m.values[next])
			next++
		}
	}
	b.Grow(size)
	b.WriteString(prefix)
	next = 0
	for _, s := range m.Route.segments {
		b.WriteByte('/')
		if !s.param {
			b.WriteString(s.text)
			continue
		}
		b.WriteString(m.values[next])
		next++
	}
	return b.String()
}
