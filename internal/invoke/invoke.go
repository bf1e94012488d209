// Package invoke lets one service send commands to another. The sidecars make the call (discovery, timeout, retry,
// circuit breaker). This package adds typed commands, typed outcomes and batching.
//
// A business refusal is an outcome in a 200, never a 4xx, because Dapr's circuit breaker counts 4xx as failures. The
// key of a breaker is "app:path", so paths are fixed and ids are in the body
// (https://docs.dapr.io/operations/resiliency/policies/).
package invoke

import (
	"context"
	"errors"
	"fmt"
	"time"

	"caravan/internal/problem"
)

// Invoker posts a JSON command to a path of another app and decodes its answer into out. Its errors are *Error, or the
// end of ctx.
type Invoker interface {
	Invoke(ctx context.Context, app, path string, in, out any) error
}

// ErrUnavailable matches every failure to get an answer: the service or its sidecar is unavailable, slow or overloaded,
// or the circuit breaker is open. It is unknown whether the command took effect. Repeating it is safe and may succeed
// later.
var ErrUnavailable = errors.New("service unavailable")

// Error says why a call got no usable answer.
type Error struct {
	// App and Path name what was called.
	App, Path string
	// Status is the HTTP status, or 0 when there was no response.
	Status int
	// BreakerOpen means that the caller's sidecar refused the call, because its circuit breaker for this target is
	// open.
	BreakerOpen bool
	// Detail is the callee's problem, if it sent one.
	Detail *problem.Problem
	// Cause is the transport error, if any.
	Cause error
}

// Error implements error.
func (e *Error) Error() string {
	switch {
	case e.BreakerOpen:
		return fmt.Sprintf("calling %s%s: circuit breaker is open", e.App, e.Path)
	case e.Cause != nil:
		return fmt.Sprintf("calling %s%s: %v", e.App, e.Path, e.Cause)
	case e.Detail != nil:
		return fmt.Sprintf("calling %s%s: status %d: %s", e.App, e.Path, e.Status, e.Detail.Error())
	}
	return fmt.Sprintf("calling %s%s: status %d", e.App, e.Path, e.Status)
}

// Unwrap gives the transport error.
func (e *Error) Unwrap() error { return e.Cause }

// Temporary reports whether the same call may succeed later.
func (e *Error) Temporary() bool {
	return e.BreakerOpen || e.Status == 0 || e.Status >= 500 || e.Status == 429
}

// Is makes errors.Is(err, ErrUnavailable) true for temporary failures.
func (e *Error) Is(target error) bool { return target == ErrUnavailable && e.Temporary() }

// Problem is the answer to a public caller: the dependency is not available. If the callee refused the call, it is an
// internal error, because our own call was wrong.
func (e *Error) Problem() *problem.Problem {
	if e.Temporary() {
		return problem.Unavailable("service-unavailable", "A service that this request needs is not available.", time.Second)
	}
	return problem.Internal()
}
