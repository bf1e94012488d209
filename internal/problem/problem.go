// Package problem is the form in which every program of Caravan reports an error over HTTP: application/problem+json of
// RFC 9457, with a stable type and the request's correlation id.
package problem

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

// ContentType is the media type of a problem (RFC 9457, 3).
const ContentType = "application/problem+json"

// typePrefix starts every problem type. The types are stable: clients match on them.
const typePrefix = "urn:caravan:problem:"

// Problem describes one failed request. It is an error, so a use case may return it.
type Problem struct {
	// Type is the stable URI of the kind of problem, urn:caravan:problem:<slug>.
	Type string
	// Title says in a few words what the type means; it does not change between occurrences.
	Title string
	// Status is the HTTP status, 400 to 599.
	Status int
	// Detail explains this occurrence to a person. It never contains secrets or internals.
	Detail string
	// Instance is a URI of this occurrence, often empty.
	Instance string
	// CorrelationID finds the log lines and spans of the request. Write sets it.
	CorrelationID string
	// Errors names the fields that were wrong.
	Errors []FieldError
	// Extra has extension members, written beside the standard ones (RFC 9457, 3.2). Names of standard members are left
	// out.
	Extra map[string]any
	// RetryAfter is the time after which a repeat may succeed. It is sent as the header Retry-After, in seconds rounded
	// up, and is not part of the body.
	RetryAfter time.Duration
	// Shed means that the service is healthy but refused this request because it is at a limit. It is sent as the
	// header Caravan-Shed and is not part of the body. A circuit breaker does not count such an answer as a failure.
	Shed bool
}

// ShedHeader marks an answer whose problem has Shed set.
const ShedHeader = "Caravan-Shed"

// FieldError is one wrong field of a request.
type FieldError struct {
	// Field is the place of the fault: a JSON path (items[0].quantity), a query parameter or a header.
	Field string `json:"field"`
	// Code is a stable name of the broken rule: required, max, unknown, ...
	Code string `json:"code"`
	// Message explains the fault to a person.
	Message string `json:"message"`
}

// Error is the slug of the type with the title and the detail.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s: %s", p.Status, p.Slug(), p.Title)
	if p.Detail != "" {
		b.WriteString(": " + p.Detail)
	}
	for _, field := range p.Errors {
		b.WriteString("; " + field.Field + ": " + field.Message)
	}
	return b.String()
}

// Slug is the last part of the type: "not-found" of urn:caravan:problem:not-found.
func (p *Problem) Slug() string { return strings.TrimPrefix(p.Type, typePrefix) }

// Problem returns p, because a problem describes itself.
func (p *Problem) Problem() *Problem { return p }

// MarshalJSON writes the standard members of RFC 9457, then the extensions sorted by name. So equal problems have equal
// bytes.
func (p Problem) MarshalJSON() ([]byte, error) {
	standard, err := json.Marshal(p.members())
	if err != nil {
		return nil, fmt.Errorf("writing a problem: %w", err)
	}
	extra := make(map[string]any, len(p.Extra))
	for name, value := range p.Extra {
		if !reserved(name) {
			extra[name] = value
		}
	}
	if len(extra) == 0 {
		return standard, nil
	}
	rest, err := json.Marshal(extra)
	if err != nil {
		return nil, fmt.Errorf("writing the extensions of a problem: %w", err)
	}
	// Both are objects with at least one member, so a comma joins them.
	return append(append(standard[:len(standard)-1], ','), rest[1:]...), nil
}

// UnmarshalJSON reads a problem. Unknown members go to Extra.
func (p *Problem) UnmarshalJSON(data []byte) error {
	var m members
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("reading a problem: %w", err)
	}
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("reading the extensions of a problem: %w", err)
	}
	maps.DeleteFunc(all, func(name string, _ any) bool { return reserved(name) })
	if len(all) == 0 {
		all = nil
	}
	*p = Problem{
		Type: m.Type, Title: m.Title, Status: m.Status, Detail: m.Detail, Instance: m.Instance,
		CorrelationID: m.CorrelationID, Errors: m.Errors, Extra: all,
	}
	return nil
}

type members struct {
	Type          string       `json:"type"`
	Title         string       `json:"title"`
	Status        int          `json:"status"`
	Detail        string       `json:"detail,omitempty"`
	Instance      string       `json:"instance,omitempty"`
	CorrelationID string       `json:"correlationId,omitempty"`
	Errors        []FieldError `json:"errors,omitempty"`
}

func (p *Problem) members() members {
	return members{p.Type, p.Title, p.Status, p.Detail, p.Instance, p.CorrelationID, p.Errors}
}

func reserved(name string) bool {
	switch name {
	case "type", "title", "status", "detail", "instance", "correlationId", "errors":
		return true
	}
	return false
}

// New makes a problem of any kind. The slug is the stable end of its type, in lower case with hyphens.
func New(status int, slug, title, detail string) *Problem {
	return &Problem{Type: typePrefix + slug, Title: title, Status: status, Detail: detail}
}

// Invalid is a 400: the request could be read, and these fields are wrong.
func Invalid(fields ...FieldError) *Problem {
	p := New(http.StatusBadRequest, "invalid-request", "The request is not valid", "")
	p.Errors = fields
	return p
}

// Malformed is a 400: the request could not be read.
func Malformed(detail string) *Problem {
	return New(http.StatusBadRequest, "malformed-request", "The request cannot be read", detail)
}

// Unauthorized is a 401: the caller is not known. Write adds the challenge of RFC 6750.
func Unauthorized(detail string) *Problem {
	return New(http.StatusUnauthorized, "unauthorized", "Authentication is required", detail)
}

// Forbidden is a 403: the caller is known and may not do this.
func Forbidden(detail string) *Problem {
	return New(http.StatusForbidden, "forbidden", "The caller may not do this", detail)
}

// NotFound is a 404 about what ("order", "product"). It is also the answer for things that another person owns.
func NotFound(what string) *Problem {
	return New(http.StatusNotFound, "not-found", "There is no such resource", sentence(what+" not found"))
}

// sentence makes the first letter a capital and adds a full stop.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] + "." }

// Conflict is a 409: the request contradicts the state of the resource.
func Conflict(slug, detail string) *Problem {
	return New(http.StatusConflict, slug, "The request conflicts with the current state", detail)
}

// Unprocessable is a 422: the request is well formed, but a business rule refuses it.
func Unprocessable(slug, detail string) *Problem {
	return New(http.StatusUnprocessableEntity, slug, "The request cannot be carried out", detail)
}

// ReusedKey is a 422: the Idempotency-Key of the request belongs to an earlier request with other content.
func ReusedKey() *Problem {
	return Unprocessable("idempotency-key-reused", "This Idempotency-Key was used with another request.")
}

// TooLarge is a 413: the body is larger than limit bytes.
func TooLarge(limit int64) *Problem {
	return New(http.StatusRequestEntityTooLarge, "too-large", "The request body is too large",
		fmt.Sprintf("The limit is %d bytes.", limit))
}

// UnsupportedMedia is a 415: the body is not application/json.
func UnsupportedMedia() *Problem {
	return New(http.StatusUnsupportedMediaType, "unsupported-media-type", "The media type is not supported",
		"Send application/json.")
}

// TooMany is a 429: the caller sends too many requests and may try again after the given time.
func TooMany(retryAfter time.Duration) *Problem {
	p := New(http.StatusTooManyRequests, "too-many-requests", "Too many requests", "")
	p.RetryAfter = retryAfter
	return p
}

// Unavailable is a 503: a dependency does not answer, and a repeat may succeed.
func Unavailable(slug, detail string, retryAfter time.Duration) *Problem {
	p := New(http.StatusServiceUnavailable, slug, "The service is temporarily unavailable", detail)
	p.RetryAfter = retryAfter
	return p
}

// Busy is Unavailable for a request that the service shed while it is healthy.
func Busy(slug, detail string, retryAfter time.Duration) *Problem {
	p := Unavailable(slug, detail, retryAfter)
	p.Shed = true
	return p
}

// Internal is a 500 without details: the cause is in the log under the correlation id.
func Internal() *Problem {
	return New(http.StatusInternalServerError, "internal", "Something went wrong on our side", "")
}
