package invoke

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel"

	"caravan/internal/correlation"
	"caravan/internal/problem"
	"caravan/internal/request"
)

// Limits of one batched call: bytes, commands, and commands at the same time.
const (
	maxBody     = 1 << 20
	maxCommands = 256
	concurrency = 64
)

// Serve answers a batched path. Each command runs with the correlation id and trace of its own cause, and has its own
// log line. handle returns a typed outcome for everything that the business can answer. An error means that there is no
// answer now, and the caller will ask again. When no command got an answer, the whole call is a 503, so that the
// caller's circuit breaker counts it. A command that was shed counts as answered: it met its own limit, such as the
// holds of one SKU, and that must not block the path for all others.
func Serve[C, R any](log *slog.Logger, handle func(ctx context.Context, command C) (R, error)) request.Handler {
	return func(r *http.Request) (request.Answer, error) {
		var batch Request[C]
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody)).Decode(&batch); err != nil {
			return request.Answer{}, problem.Malformed(err.Error())
		}
		if n := len(batch.Commands); n < 1 || n > maxCommands {
			return request.Answer{}, problem.Invalid(problem.FieldError{Field: "commands", Code: "size", Message: fmt.Sprintf("must hold 1 to %d commands", maxCommands)})
		}
		response := Response[R]{Results: make([]Outcome[R], len(batch.Commands))}
		runAll(r.Context(), log, r.URL.Path, batch.Commands, response.Results, handle)
		if failure := commonFailure(response.Results); failure != nil {
			return request.Answer{}, failure
		}
		body, err := json.Marshal(response)
		if err != nil {
			return request.Answer{}, fmt.Errorf("writing results: %w", err)
		}
		return request.OK(json.RawMessage(body)), nil
	}
}

func runAll[C, R any](ctx context.Context, log *slog.Logger, path string, commands []Envelope[C], outcomes []Outcome[R], handle func(context.Context, C) (R, error)) {
	slots := make(chan struct{}, concurrency)
	var all sync.WaitGroup
	for i, c := range commands {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			outcomes[i] = runOne(ctx, log, path, c, handle)
		})
	}
	all.Wait()
}

// runOne runs a command in the context of its cause.
func runOne[C, R any](ctx context.Context, log *slog.Logger, path string, c Envelope[C], handle func(context.Context, C) (R, error)) (outcome Outcome[R]) {
	if c.CorrelationID != "" && correlation.Valid(c.CorrelationID) {
		ctx = correlation.Remote(ctx, c.CorrelationID, c.TraceParent)
	}
	ctx, span := otel.Tracer("caravan/internal/invoke").Start(ctx, "command "+path)
	defer span.End()
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			log.ErrorContext(ctx, "command panicked", "path", path, "panic", fmt.Sprint(p))
			outcome = Outcome[R]{Error: &Failure{Status: http.StatusInternalServerError, Slug: "internal"}}
		}
	}()
	result, err := handle(ctx, c.Command)
	if err != nil {
		p := problem.From(err)
		log.WarnContext(ctx, "command failed", "path", path, "aggregate", label(c.Command), "error", err, "duration_ms", time.Since(start).Milliseconds())
		return Outcome[R]{Error: &Failure{Status: p.Status, Slug: p.Slug(), Detail: p.Detail, Shed: p.Shed}}
	}
	log.InfoContext(ctx, "command", "path", path, "aggregate", label(c.Command), "outcome", label(result),
		"duration_ms", time.Since(start).Milliseconds())
	return Outcome[R]{Result: &result}
}

// label returns how a command or result describes itself in a log line. It is empty for one that has no description.
func label(v any) slog.Value {
	if l, ok := v.(slog.LogValuer); ok {
		return l.LogValue()
	}
	return slog.StringValue("")
}

// commonFailure is the answer to a call in which no command succeeded and each failed for a temporary reason.
func commonFailure[R any](outcomes []Outcome[R]) error {
	for _, o := range outcomes {
		if o.Error == nil || o.Error.Status < http.StatusInternalServerError || o.Error.Shed {
			return nil
		}
	}
	return problem.Unavailable("service-unavailable", outcomes[0].Error.Detail, time.Second)
}
