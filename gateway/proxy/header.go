package proxy

import (
	"fmt"
	"net/http"
	"strings"

	"caravan/internal/correlation"
	"caravan/internal/problem"
)

// maxForwarded is the most bytes of one forwarded request header. daprd has a limit for all headers together
// (--read-buffer-size). A request over that limit fails in daprd with an answer that no client understands.
const maxForwarded = 1 << 10

// requestHeaders are forwarded from the client to a service. All others are dropped, above all dapr-app-id, which
// overrides the target of an invocation, and every header that claims an identity. Headers marked single must not be
// repeated, because two readers could take different values.
func requestHeaders() []allowed {
	return []allowed{
		{name: "Content-Type", single: true, body: true},
		{name: "Accept"},
		{name: "Accept-Language"},
		{name: "If-None-Match"},
		{name: "If-Match"},
		{name: "Idempotency-Key", single: true},
		{name: "Prefer"},
		{name: "Last-Event-Id", single: true, stream: true},
	}
}

type allowed struct {
	name   string
	single bool
	body   bool // describes a body, and is dropped if there is none
	stream bool // for event streams only
}

// responseHeaders are passed from a service to the client. Content-Length is set again.
func responseHeaders() []string {
	return []string{
		"Content-Type", "Content-Language", "Location", "Etag", "Last-Modified", "Cache-Control", "Expires", "Vary", "Retry-After",
		"Content-Security-Policy", // of a page, whose style it allows; without it the gateway's own applies
		"Preference-Applied", "Allow", "Www-Authenticate", "Link", "Deprecation", "Sunset",
	}
}

// forward copies the allowed headers of the client to out. The values are shared with in, which never changes.
func (f *Forwarder) forward(out, in http.Header, hasBody, stream bool) error {
	for _, h := range f.requestHeaders {
		values := in[h.name]
		if len(values) == 0 || h.body && !hasBody || h.stream && !stream {
			continue
		}
		if stream && h.name == "Accept" {
			continue // daprd handles a request that accepts event streams in another way, and loses the problem of a refusal
		}
		if h.single && len(values) > 1 {
			return problem.Malformed(fmt.Sprintf("The header %s must be sent once.", h.name))
		}
		size := 0
		for _, value := range values {
			size += len(value)
		}
		if size > maxForwarded {
			return problem.Malformed(fmt.Sprintf("The header %s is too long.", h.name))
		}
		out[h.name] = values
	}
	return nil
}

// identify adds the headers that only the gateway may set. body says whether the call has one. It runs after forward and replaces the client's values.
func (f *Forwarder) identify(out http.Header, r *http.Request, c *Call, body bool) {
	values := make([]string, 0, 7) // one allocation for all of them
	set := func(name, value string) {
		if value != "" {
			values = append(values, value)
			out[name] = values[len(values)-1 : len(values) : len(values)]
		}
	}
	ctx := r.Context()
	set(correlation.Header, correlation.ID(ctx))
	set("Traceparent", correlation.Traceparent(ctx))
	set("X-Forwarded-For", c.Client)
	set("Dapr-Api-Token", f.token)
	if c.Authorized {
		set("Authorization", r.Header.Get("Authorization"))
	} else if body {
		set("X-Client-Agent", agent(r.Header.Get("User-Agent")))
	}
	out["User-Agent"] = nil // net/http adds its own otherwise
}

// maxAgent is the most bytes of a User-Agent that are passed on.
const maxAgent = 256

// agent is the beginning of a User-Agent, for calls that need no access token: a login tells by it whether the device is a known one.
// The sidecars take only text, so anything else becomes a question mark.
func agent(text string) string {
	text = text[:min(len(text), maxAgent)]
	if strings.IndexFunc(text, unprintable) < 0 {
		return text
	}
	return strings.Map(func(r rune) rune {
		if unprintable(r) {
			return '?'
		}
		return r
	}, text)
}

func unprintable(r rune) bool { return r < ' ' || r > '~' }

// answer copies the allowed headers of the service to the client.
func (f *Forwarder) answer(out, in http.Header) {
	for _, name := range f.responseHeaders {
		if values := in[name]; len(values) > 0 {
			out[name] = values
		}
	}
	if location := in["Location"]; len(location) > 0 && !local(location[0]) {
		delete(out, "Location")
	}
}

// local reports whether a location is a path of this API. A service behind the gateway must not name another host: it
// could have that name only from a client.
func local(location string) bool {
	return strings.HasPrefix(location, "/") && !strings.HasPrefix(location, "//") && !strings.ContainsAny(location, "\\\r\n")
}
