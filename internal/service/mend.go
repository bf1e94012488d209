package service

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const (
	endOften   = 50 * time.Millisecond // between two looks whether the sidecar has ended
	endPatient = 20 * time.Second      // for an orderly end, before it is forced
	endTimeout = 3 * time.Second       // for one question
)

// restart has the sidecar started anew: it is asked to end, and whatever supervises it starts it again. The
// pause before the next time doubles, so that a broker that is no good for long is no storm of restarts.
func (w *watch) restart(ctx context.Context, dead []*line, reasons []string) {
	topics := make([]string, len(dead))
	for i, l := range dead {
		topics[i] = l.full
	}
	w.mu.Lock()
	if !w.mend.IsZero() {
		w.rest = min(2*w.rest, w.settings.MostRest)
	}
	w.mend = w.clock.Now()
	w.count++
	rest := w.rest
	w.mu.Unlock()
	w.log.ErrorContext(ctx, "subscriptions are dead: the sidecar is asked to end, to be started anew",
		"topics", topics, "reasons", reasons, "next_seconds", int(rest.Seconds()))
	for _, topic := range topics {
		w.mends.Add(ctx, 1, metric.WithAttributes(attribute.String("topic", topic), attribute.String("reason", "dead")))
	}
	if err := w.endSidecar(ctx); err != nil {
		w.log.ErrorContext(ctx, "the sidecar could not be ended", "error", err)
	}
	now := w.clock.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lines {
		l.since, l.missed, l.taken, l.hung, l.called = now, time.Time{}, 0, time.Time{}, time.Time{}
	}
}

// endSidecar asks the sidecar to end, waits until it has, and forces it if it takes too long: what made its
// subscriptions hang may make its orderly end hang too.
func (w *watch) endSidecar(ctx context.Context) error {
	var last error
	for _, force := range []bool{false, true} {
		asking, cancel := context.WithTimeout(ctx, endTimeout)
		last = w.sidecar.Shutdown(asking, force)
		cancel()
		if w.ended(ctx) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.log.WarnContext(ctx, "the sidecar has not ended in order", "error", last)
	}
	if last != nil {
		return last
	}
	return fmt.Errorf("it still answers after %s", endPatient)
}

// ended waits for the sidecar to stop answering.
func (w *watch) ended(ctx context.Context) bool {
	deadline := w.clock.Now().Add(endPatient)
	for w.clock.Now().Before(deadline) {
		asking, cancel := context.WithTimeout(ctx, endTimeout)
		_, err := w.sidecar.Subscriptions(asking)
		cancel()
		if err != nil {
			return ctx.Err() == nil
		}
		if w.clock.Sleep(ctx, endOften) != nil {
			return false
		}
	}
	return false
}
