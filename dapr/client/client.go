// Package client is a typed client of the public API, as the gateway serves it under /v1, for the commands, the
// benchmark and the tests. client.gen.go, generated from gateway/openapi.yaml, has the types and a method for each
// operation. The rest is the sending (client.go), the session of a user (session.go) and functions of several calls
// (shop.go).
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"caravan/internal/correlation"
	"caravan/internal/problem"
	"caravan/internal/request"
)

//go:generate go tool -modfile=../../tools.mod oapi-codegen -config generate/config.yaml -o client.gen.go ../../gateway/openapi.yaml

// Client calls the API without credentials, or as the logged-in user. It is safe for concurrent use.
type Client struct {
	base string
	http *http.Client

	mu          sync.Mutex
	session     Session
	renewAt     time.Time
	credentials Credentials
}

// New returns a client of the gateway at the base URL, such as http://127.0.0.1:8080. The HTTP client may be nil. Its
// timeout should be longer than the longest requested wait.
func New(base string, client *http.Client) *Client {
	if client == nil {
		client = &http.Client{Timeout: 30 * time.Second}
	}
	return &Client{base: strings.TrimRight(base, "/"), http: client}
}

// UnexpectedError is an answer that is neither documented nor a problem.
type UnexpectedError struct {
	Method, Path string
	Status       int
	Body         string // its beginning
}

// Error returns the call and the answer.
func (e *UnexpectedError) Error() string {
	return fmt.Sprintf("%s %s answered %d: %s", e.Method, e.Path, e.Status, e.Body)
}

// Status returns the HTTP status in a call's error: of a problem or an unexpected answer, or 0 when the call had no
// answer.
func Status(err error) int {
	var p *problem.Problem
	if errors.As(err, &p) {
		return p.Status
	}
	var unexpected *UnexpectedError
	if errors.As(err, &unexpected) {
		return unexpected.Status
	}
	return 0
}

// Slug returns the kind of problem in a call's error, such as "not-found", or "" if there is none.
func Slug(err error) string {
	var p *problem.Problem
	if errors.As(err, &p) {
		return p.Slug()
	}
	return ""
}

type headerKey struct{}

// WithHeader copies the headers of a call's answer to header, for example the correlation id from the gateway.
func WithHeader(ctx context.Context, header *http.Header) context.Context {
	return context.WithValue(ctx, headerKey{}, header)
}

type uncachedKey struct{}

// Uncached makes calls get the answer of the service and not one that the gateway has kept. What changes the catalogue needs it
// to decide by what is there now.
func Uncached(ctx context.Context) context.Context {
	return context.WithValue(ctx, uncachedKey{}, true)
}

// call is one request of the API.
type call struct {
	method, path string
	query        query
	body         any    // nil for none
	key          string // Idempotency-Key, "" for none
	want         []int  // the accepted statuses
	anonymous    bool   // send no token
}

// do sends a call and returns its answer. If the call is refused, the error is a *problem.Problem.
func do[T any](ctx context.Context, c *Client, in call) (answer T, err error) {
	bearer := ""
	if !in.anonymous {
		if bearer, err = c.token(ctx); err != nil {
			return answer, err
		}
	}
	response, err := c.send(ctx, in, bearer)
	if err != nil {
		return answer, fmt.Errorf("%s %s: %w", in.method, in.path, err)
	}
	defer response.Body.Close()
	if header, ok := ctx.Value(headerKey{}).(*http.Header); ok {
		*header = response.Header
	}
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return answer, fmt.Errorf("%s %s: reading the answer: %w", in.method, in.path, err)
	}
	if !slices.Contains(in.want, response.StatusCode) {
		return answer, failure(in, response, raw)
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &answer); err != nil {
			return answer, fmt.Errorf("%s %s: reading the answer: %w", in.method, in.path, err)
		}
	}
	return answer, nil
}

func (c *Client) send(ctx context.Context, in call, bearer string) (*http.Response, error) {
	var body io.Reader
	if in.body != nil {
		raw, err := json.Marshal(in.body)
		if err != nil {
			return nil, fmt.Errorf("writing the request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, in.method, c.base+in.path+in.query.String(), body)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	if in.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if in.key != "" {
		r.Header.Set(request.IdempotencyHeader, strconv.Quote(in.key))
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	if id := correlation.ID(ctx); id != "" {
		r.Header.Set(correlation.Header, id)
	}
	if ctx.Value(uncachedKey{}) != nil {
		r.Header.Set("Cache-Control", "no-cache")
	}
	return c.http.Do(r)
}

// query has parameters by name. Zero parameters are not sent.
type query map[string]any

// String returns the query with its question mark, or "" if it is empty.
func (q query) String() string {
	values := url.Values{}
	for name, value := range q {
		if reflect.ValueOf(value).IsZero() {
			continue
		}
		if at, ok := value.(time.Time); ok {
			value = at.UTC().Format(time.RFC3339Nano)
		}
		values.Set(name, fmt.Sprint(value))
	}
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

func failure(in call, response *http.Response, raw []byte) error {
	if strings.HasPrefix(response.Header.Get("Content-Type"), problem.ContentType) {
		var p problem.Problem
		if err := json.Unmarshal(raw, &p); err == nil {
			if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
				p.RetryAfter = time.Duration(seconds) * time.Second
			}
			return fmt.Errorf("%s %s: %w", in.method, in.path, &p)
		}
	}
	const most = 300
	if len(raw) > most {
		raw = raw[:most]
	}
	return &UnexpectedError{Method: in.method, Path: in.path, Status: response.StatusCode, Body: string(raw)}
}
