package invoke

import (
	"context"
	"fmt"
	"time"

	"caravan/internal/batch"
	"caravan/internal/correlation"
	"caravan/internal/problem"
)

// callTimeout limits one batched call. It is longer than the sidecar's own timeout and retries
// (dapr/resources/resiliency.yaml).
const callTimeout = 12 * time.Second

// Envelope contains one command of a batch and the context of the command's own cause.
type Envelope[C any] struct {
	Command       C      `json:"command"`
	CorrelationID string `json:"correlationId,omitempty"`
	TraceParent   string `json:"traceparent,omitempty"`
}

// Request is the body of a batched call.
type Request[C any] struct {
	Commands []Envelope[C] `json:"commands"`
}

// Outcome is the answer to one command: a result, or the reason why there is none yet.
type Outcome[R any] struct {
	Result *R       `json:"result,omitempty"`
	Error  *Failure `json:"error,omitempty"`
}

// Failure says why one command of a batch has no result.
type Failure struct {
	Status int    `json:"status"`
	Slug   string `json:"slug"`
	Detail string `json:"detail,omitempty"`
	// Shed means that the service works and only had no capacity for this command.
	Shed bool `json:"shed,omitempty"`
}

// Response is the body of the answer to a batched call, in the order of the request.
type Response[R any] struct {
	Results []Outcome[R] `json:"results"`
}

// Batch sends commands of type C to one path of one app. Commands that come while a call runs share the next call.
type Batch[C, R any] struct {
	batcher *batch.Batcher[Envelope[C], R]
}

// NewBatch makes a Batch of at most size commands a call.
func NewBatch[C, R any](invoker Invoker, app, path string, size int) *Batch[C, R] {
	run := func(ctx context.Context, commands []Envelope[C]) []batch.Result[R] {
		results := make([]batch.Result[R], len(commands))
		var response Response[R]
		err := invoker.Invoke(ctx, app, path, Request[C]{Commands: commands}, &response)
		if err == nil && len(response.Results) != len(commands) {
			err = &Error{App: app, Path: path, Status: 502, Cause: fmt.Errorf("%d results for %d commands", len(response.Results), len(commands))}
		}
		for i := range results {
			switch {
			case err != nil:
				results[i].Err = err
			case response.Results[i].Error != nil:
				f := response.Results[i].Error
				results[i].Err = &Error{App: app, Path: path, Status: f.Status, Detail: problem.New(f.Status, f.Slug, f.Slug, f.Detail)}
			case response.Results[i].Result == nil:
				results[i].Err = &Error{App: app, Path: path, Status: 502, Cause: fmt.Errorf("empty result")}
			default:
				results[i].Value = *response.Results[i].Result
			}
		}
		return results
	}
	return &Batch[C, R]{batcher: batch.New(batch.Options{Size: size, Lanes: 2, Timeout: callTimeout}, nil, run)}
}

// Do sends one command and waits for its result, or for the end of ctx.
func (b *Batch[C, R]) Do(ctx context.Context, command C) (R, error) {
	return b.batcher.Do(ctx, Envelope[C]{
		Command: command, CorrelationID: correlation.ID(ctx), TraceParent: correlation.Traceparent(ctx),
	})
}
