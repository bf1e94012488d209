// Package shopclient is a typed client of the public API, as the gateway serves
// it under /v1. Seeding, imports, the benchmark and the end-to-end tests use it.
package shopclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"caravan/internal/correlation"
	"caravan/internal/problem"
	"caravan/internal/request"
)

// Client calls the API as nobody, or as the user it has logged in as. It is
// safe for concurrent use.
type Client struct {
	base string
	http *http.Client

	mu      sync.Mutex
	session Session
	renewAt time.Time
	credentials
}

type credentials struct{ email, password string }

// New returns a client of the gateway at the base URL, as http://127.0.0.1:8080.
// The HTTP client may be nil; its timeout should exceed the longest wait asked for.
func New(base string, client *http.Client) *Client {
	if client == nil {
		client = &http.Client{Timeout: 30 * time.Second}
	}
	return &Client{base: strings.TrimRight(base, "/"), http: client}
}

// Base is the URL the client calls.
func (c *Client) Base() string { return c.base }

// UnexpectedError is an answer that is neither the one promised nor a problem.
type UnexpectedError struct {
	Method, Path string
	Status       int
	Body         string // its beginning
}

// Error names the call and what came back.
func (e *UnexpectedError) Error() string {
	return fmt.Sprintf("%s %s answered %d: %s", e.Method, e.Path, e.Status, e.Body)
}

// Status is the HTTP status of a call's error: of a problem or an unexpected
// answer; 0 when the call had no answer.
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

// Slug is the kind of problem a call ended with, as "not-found"; "" for none.
func Slug(err error) string {
	var p *problem.Problem
	if errors.As(err, &p) {
		return p.Slug()
	}
	return ""
}

// call is one request of the API.
type call struct {
	method, path string
	query        url.Values
	body         any    // nil for none
	key          string // Idempotency-Key, "" for none
	want         []int  // accepted statuses
	into         any    // what a success is decoded into; nil for nothing
	anonymous    bool   // send no token
}

// do sends the call and returns the response's headers. An error answer is
// returned as a *problem.Problem.
func (c *Client) do(ctx context.Context, in call) (http.Header, error) {
	bearer := ""
	if !in.anonymous {
		var err error
		if bearer, err = c.token(ctx); err != nil {
			return nil, err
		}
	}
	response, err := c.send(ctx, in, bearer)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", in.method, in.path, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: reading the answer: %w", in.method, in.path, err)
	}
	for _, want := range in.want {
		if response.StatusCode != want {
			continue
		}
		if in.into == nil {
			return response.Header, nil
		}
		if err := json.Unmarshal(raw, in.into); err != nil {
			return nil, fmt.Errorf("%s %s: reading the answer: %w", in.method, in.path, err)
		}
		return response.Header, nil
	}
	return response.Header, failure(in, response, raw)
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
	address := c.base + in.path
	if len(in.query) > 0 {
		address += "?" + in.query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, in.method, address, body)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	if in.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	setIdempotencyKey(request.Header, in.key)
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	if id := correlation.ID(ctx); id != "" {
		request.Header.Set(correlation.Header, id)
	}
	return c.http.Do(request)
}

func setIdempotencyKey(header http.Header, key string) {
	if key != "" {
		header.Set(request.IdempotencyHeader, strconv.Quote(key))
	}
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

// pathSegment escapes an id for a path.
func pathSegment(id string) string { return url.PathEscape(id) }
