// Package apicheck checks every answer of an HTTP API against its OpenAPI document. Status, headers, media type and
// body must be as documented, and the document must allow every accepted request.
package apicheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// Document is a valid OpenAPI document. It is safe for concurrent use.
type Document struct {
	spec *openapi3.T

	mu   sync.Mutex
	seen map[string]map[int]bool // statuses by operation
}

func init() {
	for _, media := range []string{"text/event-stream", "text/html"} {
		openapi3filter.RegisterBodyDecoder(media, openapi3filter.FileBodyDecoder)
	}
}

// Parse reads and validates a document. It must be OpenAPI 3.1, whose schemas are JSON Schema 2020-12.
func Parse(ctx context.Context, raw []byte) (*Document, error) {
	spec, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	if !strings.HasPrefix(spec.OpenAPI, "3.1.") {
		return nil, fmt.Errorf("the document is OpenAPI %q, not 3.1", spec.OpenAPI)
	}
	if err := spec.Validate(ctx, openapi3.IsOpenAPI31OrLater()); err != nil {
		return nil, fmt.Errorf("the OpenAPI document is invalid: %w", err)
	}
	return &Document{spec: spec, seen: make(map[string]map[int]bool)}, nil
}

// errUndocumented means that the document has no such operation.
var errUndocumented = errors.New("the document has no such operation")

// find finds the operation of a request. A literal segment has priority over a parameter.
func (d *Document) find(method, path string) (*routers.Route, map[string]string, error) {
	var best *routers.Route
	var values map[string]string
	for template, item := range d.spec.Paths.Map() {
		found, ok := match(template, path)
		if !ok || item.GetOperation(method) == nil || best != nil && len(found) >= len(values) {
			continue
		}
		best = &routers.Route{Spec: d.spec, Path: template, PathItem: item, Method: method, Operation: item.GetOperation(method)}
		values = found
	}
	if best == nil {
		return nil, nil, fmt.Errorf("%s %s: %w", method, path, errUndocumented)
	}
	return best, values, nil
}

func match(template, path string) (map[string]string, bool) {
	parts, segments := strings.Split(template, "/"), strings.Split(path, "/")
	if len(parts) != len(segments) {
		return nil, false
	}
	values := make(map[string]string)
	for i, part := range parts {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			values[strings.TrimSuffix(name, "}")] = segments[i]
		} else if part != segments[i] {
			return nil, false
		}
	}
	return values, true
}

// Check checks one exchange against the document. An undocumented path or method must be refused, with 404 or 405 and a
// problem.
func (d *Document) Check(ctx context.Context, request *http.Request, sent []byte, response *http.Response, received []byte) error {
	route, values, err := d.find(request.Method, request.URL.EscapedPath())
	if errors.Is(err, errUndocumented) && refused(response) {
		return nil
	}
	if err != nil {
		return err
	}
	copied := request.Clone(ctx)
	copied.Body = io.NopCloser(bytes.NewReader(sent))
	options := &openapi3filter.Options{
		IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true,
	}
	asked := &openapi3filter.RequestValidationInput{Request: copied, PathParams: values, Route: route, Options: options}
	d.note(route, response.StatusCode)
	if response.StatusCode < http.StatusMultipleChoices {
		if err := openapi3filter.ValidateRequest(ctx, asked); err != nil {
			return fmt.Errorf("the request was accepted, but the document forbids it: %s", brief(err))
		}
	}
	answered := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: asked, Status: response.StatusCode, Header: response.Header,
		Body: io.NopCloser(bytes.NewReader(received)), Options: options,
	}
	if err := openapi3filter.ValidateResponse(ctx, answered); err != nil {
		return fmt.Errorf("the answer is not what the document says: %s", brief(err))
	}
	return nil
}

// brief removes the schema and the value from an error, because they fill pages.
func brief(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\nSchema:")
	return text
}

func refused(response *http.Response) bool {
	return (response.StatusCode == http.StatusNotFound || response.StatusCode == http.StatusMethodNotAllowed) &&
		strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json")
}

// Transport checks every exchange that it transports.
type Transport struct {
	Next     http.RoundTripper
	Document *Document
	// Report is called for every exchange that violates the document.
	Report func(error)
}

// RoundTrip implements http.RoundTripper. It reads the whole answer, so it is not for streams.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	sent, err := drain(&request.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	response, err := t.Next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	received, err := drain(&response.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if err := t.Document.Check(request.Context(), request, sent, response, received); err != nil {
		t.Report(fmt.Errorf("%s %s answered %s: %w\n%s", request.Method, request.URL, response.Status, err, received))
	}
	return response, nil
}

// drain reads a body and replaces it by a new one with the same bytes.
func drain(body *io.ReadCloser) ([]byte, error) {
	if *body == nil || *body == http.NoBody {
		return nil, nil
	}
	raw, err := io.ReadAll(*body)
	if err := errors.Join(err, (*body).Close()); err != nil {
		return nil, err
	}
	*body = io.NopCloser(bytes.NewReader(raw))
	return raw, nil
}
