package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"

	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/invoke"
	"caravan/internal/problem"
)

// maxAnswer limits the body of an answer in bytes.
const maxAnswer = 8 << 20

// invoker implements invoke.Invoker with the sidecar's HTTP API, because the SDK's InvokeMethod loses status and
// headers.
type invoker struct{ c *Client }

// Invoke posts in to path of app and decodes the answer into out, which may be nil. The sidecar adds the app's token,
// finds an instance, and applies the policies of dapr/resources/resiliency.yaml.
func (i invoker) Invoke(ctx context.Context, app, path string, in, out any) error {
	ctx, span := otel.Tracer("caravan/internal/sidecar").Start(ctx, "invoke "+app+path, trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	body, err := jsonv2.Marshal(in) // writes a nil slice as [], because null is refused
	if err != nil {
		return fmt.Errorf("encoding command to %s%s: %w", app, path, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, i.c.base+"/v1.0/invoke/"+app+"/method"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("preparing call to %s%s: %w", app, path, err)
	}
	i.setHeaders(ctx, request.Header)
	response, err := i.c.http.Do(request)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		return i.failed(&invoke.Error{App: app, Path: path, Cause: err})
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil || len(answer) > maxAnswer {
		return i.failed(&invoke.Error{App: app, Path: path, Cause: errors.Join(err, errors.New("answer could not be read"))})
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return i.failed(refusal(app, path, response, answer))
	}
	i.c.breakers.closed(app + path)
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return &invoke.Error{App: app, Path: path, Status: http.StatusBadGateway, Cause: fmt.Errorf("decoding answer: %w", err)}
	}
	return nil
}

func (i invoker) setHeaders(ctx context.Context, h http.Header) {
	h.Set("Content-Type", "application/json")
	h.Set(tokenHeader, i.c.opts.Token)
	if id := correlation.ID(ctx); id != "" {
		h.Set(correlation.Header, id)
	}
	if parent := correlation.Traceparent(ctx); parent != "" {
		h.Set("traceparent", parent)
	}
}

// failed records what an error reveals about the circuit breaker.
func (i invoker) failed(err *invoke.Error) error {
	if err.BreakerOpen {
		i.c.breakers.opened(err.App+err.Path, err.App)
	}
	return err
}

// refusal reads an answer that is not a success: a problem from the callee, or an error of the sidecars, which is
// {"errorCode", "message"} with status 500.
func refusal(app, path string, response *http.Response, body []byte) *invoke.Error {
	e := &invoke.Error{App: app, Path: path, Status: response.StatusCode}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") {
		var p problem.Problem
		if json.Unmarshal(body, &p) == nil {
			e.Detail = &p
			return e
		}
	}
	var dapr struct{ ErrorCode, Message string }
	if json.Unmarshal(body, &dapr) == nil && dapr.ErrorCode != "" {
		e.BreakerOpen = strings.Contains(dapr.Message, "circuit breaker is open") || strings.Contains(dapr.Message, "too many requests")
		e.Cause = fmt.Errorf("%s: %s", dapr.ErrorCode, dapr.Message)
	}
	return e
}

// Breaker is what this process has observed of one circuit breaker of its sidecar. Dapr has no API for their state.
type Breaker struct {
	// Target is the app and path that the breaker protects.
	Target string `json:"target"`
	// App is the app of the target.
	App string `json:"app"`
	// State is "open" or "closed".
	State string `json:"state"`
	// Since is when it was first seen in that state.
	Since time.Time `json:"since"`
	// Refused counts the calls that the breaker refused since it opened.
	Refused int64 `json:"refused"`
	// Opened counts how often the breaker was seen to open.
	Opened int64 `json:"opened"`
}

type breakers struct {
	clock clock.Clock
	mu    sync.Mutex
	seen  map[string]*Breaker
}

func newBreakers(clk clock.Clock) *breakers {
	return &breakers{clock: clk, seen: make(map[string]*Breaker)}
}

func (b *breakers) opened(target, app string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, ok := b.seen[target]
	if !ok {
		k = &Breaker{Target: target, App: app}
		b.seen[target] = k
	}
	if k.State != "open" {
		k.State, k.Since, k.Refused = "open", b.clock.Now(), 0
		k.Opened++
	}
	k.Refused++
}

func (b *breakers) closed(target string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k, ok := b.seen[target]; ok && k.State == "open" {
		k.State, k.Since = "closed", b.clock.Now()
	}
}

func (b *breakers) list() []Breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Breaker, 0, len(b.seen))
	for _, k := range b.seen {
		out = append(out, *k)
	}
	return out
}
