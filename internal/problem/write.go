package problem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"caravan/internal/correlation"
)

// retryAfter is the usual Retry-After. It is long enough for the half-open probe of a breaker, and short enough not to
// look like an outage.
const retryAfter = 2 * time.Second

// From decides which problem an error is; nothing else decides that. If an error in the chain has a method Problem()
// *Problem, its result is the problem, so packages can define their errors and this package does not import them.
// Otherwise NotFound() true is a 404, Temporary() true and an ended context are a 503, a body over its limit is a 413,
// and everything else is a 500 without the cause. From(nil) is nil.
func From(err error) *Problem {
	if err == nil {
		return nil
	}
	var described interface{ Problem() *Problem }
	if errors.As(err, &described) {
		if p := described.Problem(); p != nil {
			return p
		}
	}
	var (
		tooLarge  *http.MaxBytesError
		missing   interface{ NotFound() bool }
		temporary interface{ Temporary() bool }
	)
	switch {
	case errors.As(err, &missing) && missing.NotFound():
		return NotFound("resource")
	case errors.As(err, &tooLarge):
		return TooLarge(tooLarge.Limit)
	case errors.Is(err, context.DeadlineExceeded):
		return Unavailable("deadline-exceeded", "the request took too long", retryAfter)
	case errors.Is(err, context.Canceled):
		// The client has gone away or the program is stopping. A repeat is right in both cases.
		return Unavailable("cancelled", "the request was cancelled", retryAfter)
	case errors.As(err, &temporary) && temporary.Temporary():
		return Unavailable("try-again", "something this request needs does not answer right now", retryAfter)
	}
	return Internal()
}

// Write sends the problem of err with the request's correlation id, and logs the cause of a 5xx, which the client does
// not see. Call it before anything else is written.
func Write(w http.ResponseWriter, r *http.Request, err error) {
	p := From(err)
	if p == nil {
		p = Internal()
	}
	ctx := r.Context()
	if p.Status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		level := slog.LevelError
		if p.Status == http.StatusServiceUnavailable {
			level = slog.LevelWarn // it usually passes, and other code reports its cause
		}
		slog.Log(ctx, level, "request failed", "status", p.Status, "problem", p.Slug(), "error", fmt.Sprint(err))
	}
	out := *p // requests may share a problem, so it is never changed here
	if out.CorrelationID == "" {
		out.CorrelationID = correlation.ID(ctx)
	}
	body, encodeErr := json.Marshal(&out)
	if encodeErr != nil {
		slog.ErrorContext(ctx, "a problem could not be written", "problem", p.Slug(), "error", encodeErr)
		out = *Internal()
		out.CorrelationID = correlation.ID(ctx)
		body, _ = json.Marshal(&out) // without extensions this cannot fail
	}
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if out.RetryAfter > 0 {
		seconds := (out.RetryAfter + time.Second - 1) / time.Second
		h.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	if out.Shed {
		h.Set(ShedHeader, "1")
	}
	if out.Status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", `Bearer realm="caravan"`) // RFC 9110, 15.5.2
	}
	w.WriteHeader(out.Status)
	_, _ = w.Write(body) // a client that has gone away gets no error
}
