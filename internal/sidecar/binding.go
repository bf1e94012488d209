package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"unicode/utf8"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"

	"caravan/internal/correlation"
)

// EmailBinding is the name of the output binding that sends e-mails.
const EmailBinding = "email"

// BindingError says that an output binding failed, or that the sidecar did not answer. The binding may have had its
// effect.
type BindingError struct {
	Name   string
	Status int // of the sidecar's answer; 0 without one
	Cause  error
}

// Error names the binding and the cause.
func (e *BindingError) Error() string { return fmt.Sprintf("output binding %s: %v", e.Name, e.Cause) }

// Unwrap returns the cause.
func (e *BindingError) Unwrap() error { return e.Cause }

// Bind calls an output binding (https://docs.dapr.io/reference/api/bindings_api/) and returns its data, which is nil if
// it has none. data is UTF-8 text, which the component gets as a JSON string. A failure is a *BindingError; the sidecar
// repeats nothing. The call ends with the context, also inside the sidecar.
func (c *Client) Bind(ctx context.Context, name, operation string, data []byte, metadata map[string]string) ([]byte, error) {
	ctx, span := otel.Tracer("caravan/internal/sidecar").Start(ctx, "bind "+name, trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("calling output binding %s: the data is not UTF-8", name)
	}
	body, err := json.Marshal(struct {
		Operation string            `json:"operation"`
		Data      string            `json:"data"`
		Metadata  map[string]string `json:"metadata,omitempty"`
	}{operation, string(data), metadata})
	if err != nil {
		return nil, fmt.Errorf("encoding a request to output binding %s: %w", name, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1.0/bindings/"+name, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("preparing a request to output binding %s: %w", name, err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(tokenHeader, c.opts.Token)
	if parent := correlation.Traceparent(ctx); parent != "" {
		request.Header.Set("traceparent", parent)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, &BindingError{Name: name, Cause: err}
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil || len(answer) > maxAnswer {
		return nil, &BindingError{Name: name, Status: response.StatusCode, Cause: errors.Join(err, errors.New("the answer could not be read"))}
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return nil, &BindingError{Name: name, Status: response.StatusCode, Cause: sidecarError(response.StatusCode, answer)}
	}
	if len(answer) == 0 {
		return nil, nil
	}
	return answer, nil
}

// sidecarError reads the error of a sidecar, {"errorCode", "message"}.
func sidecarError(status int, body []byte) error {
	var said struct{ ErrorCode, Message string }
	if json.Unmarshal(body, &said) != nil || said.ErrorCode == "" {
		return fmt.Errorf("status %d", status)
	}
	return fmt.Errorf("%s: %s", said.ErrorCode, said.Message)
}
