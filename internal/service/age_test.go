package service

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"caravan/internal/event"
)

// TestTheAgeOfEventsIsMeasured: an event counts once, when it was handled, and not when it failed or was seen before.
func TestTheAgeOfEventsIsMeasured(t *testing.T) {
	s, _ := newTestService(t)
	s.Sidecar = withoutSidecar(t, s)
	var result error
	started(t, s, func(_ context.Context, s *Service) error {
		s.Consume(consumer(func(context.Context, event.Event) error { return result }))
		return nil
	})
	body, _ := paid(t)
	push := func() {
		send(s, "POST", "/events/payments", bytes.NewReader(body), "Content-Type", "application/cloudevents+json")
	}
	const counted = `caravan_event_age_seconds_count{producer="payments"} `
	shows := func() string { return send(s, "GET", "/metrics", nil).Body.String() }
	result = event.Retry(errors.New("later"))
	push()
	if strings.Contains(shows(), counted) {
		t.Error("an event that failed counts")
	}
	result = nil
	push()
	push()
	if got := shows(); !strings.Contains(got, counted+"1\n") || !strings.Contains(got, `producer="payments",le="7200"`) {
		t.Errorf("the metrics are %s", got)
	}
}
