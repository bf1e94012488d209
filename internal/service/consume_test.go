package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/internal/event"
)

func paid(t *testing.T) ([]byte, event.Event) {
	t.Helper()
	e := event.Event{
		ID: event.ID("payments", "p1", 1), Type: "payments.captured.v1", Source: "payments", Subject: "p1", Sequence: 1,
		Time: time.Now().UTC(), Data: json.RawMessage(`{}`),
	}
	body, err := e.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	return body, e
}

// direct is a collector that stores its events when settled.
type direct struct {
	taken  []event.Event
	settle chan func(ctx context.Context, e event.Event, err error) error
}

func (d *direct) Take(_ context.Context, e event.Event) error {
	d.taken = append(d.taken, e)
	return nil
}

func (d *direct) Run(ctx context.Context, settle func(ctx context.Context, e event.Event, err error) error) error {
	d.settle <- settle
	<-ctx.Done()
	return nil
}

func consumer(h event.Handler) Consumer {
	return Consumer{Producers: []string{"payments", "users"}, Handle: h, Remember: 10, ReadPermission: "ops:read", WritePermission: "ops:write"}
}

// TestAConsumerIsComplete: one call registers push, pull, filter and dead letters.
func TestAConsumerIsComplete(t *testing.T) {
	s, _ := newTestService(t, "--http.request_timeout=1s")
	s.Sidecar = withoutSidecar(t, s)
	handled, result := 0, error(nil)
	started(t, s, func(_ context.Context, s *Service) error {
		s.Consume(consumer(func(context.Context, event.Event) error { handled++; return result }))
		return nil
	})
	var workers []string
	for _, w := range s.workers {
		workers = append(workers, w.name)
	}
	if want := []string{"pull payments", "pull users", "batches of dead letters"}; !slices.Equal(workers, want) {
		t.Errorf("workers are %v; want %v", workers, want)
	}
	if want := []string{"payments", "users", "orders.dead"}; !slices.Equal(s.topics, want) {
		t.Errorf("topics are %v; want %v", s.topics, want)
	}
	body, _ := paid(t)
	push := func(path string) string {
		return send(s, "POST", path, bytes.NewReader(body), "Content-Type", "application/cloudevents+json").Body.String()
	}
	for _, c := range []struct {
		result error
		answer string
		times  int
	}{
		{event.Retry(errors.New("later")), "RETRY", 1}, {errors.New("never"), "DROP", 2}, {nil, "SUCCESS", 3},
		{nil, "SUCCESS", 3}, // it was handled before
	} {
		result = c.result
		if answer := push("/events/payments"); !strings.Contains(answer, c.answer) || handled != c.times {
			t.Errorf("with %v the answer is %s, after %d calls", c.result, answer, handled)
		}
	}
	if answer := push("/events/dead"); !strings.Contains(answer, "RETRY") { // there is no store
		t.Errorf("dead letters are answered with %s", answer)
	}
	for _, r := range [][2]string{{"GET", "/v1/ops/dead-letters"}, {"POST", "/v1/ops/dead-letters/replay"}, {"GET", "/v1/ops/dead-letters/discards/x"}} {
		if w := send(s, r[0], r[1], nil); w.Code != 401 {
			t.Errorf("%s %s without a user is %d", r[0], r[1], w.Code)
		}
	}
}

// TestACollectedEventIsSeenWhenItIsStored: the collector gets a pushed event again until the event is settled.
func TestACollectedEventIsSeenWhenItIsStored(t *testing.T) {
	s, _ := newTestService(t)
	s.Sidecar = withoutSidecar(t, s)
	d := &direct{settle: make(chan func(context.Context, event.Event, error) error, 1)}
	started(t, s, func(_ context.Context, s *Service) error {
		c := consumer(func(context.Context, event.Event) error { return errors.New("not called") })
		c.Collector, c.DeadLettersPath = d, "/v1/ops/orders/dead-letters"
		s.Consume(c)
		return nil
	})
	if w := s.workers[0]; w.name != "collector" || !w.last {
		t.Fatalf("the first worker is %+v", w)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.workers[0].run(ctx); err != nil {
		t.Fatal(err)
	}
	if w := send(s, "GET", "/v1/ops/orders/dead-letters/x", nil); w.Code != 401 {
		t.Errorf("the dead letters are %d", w.Code)
	}
	settle := <-d.settle
	body, e := paid(t)
	for n, want := range []int{1, 2, 2} {
		w := send(s, "POST", "/events/payments", bytes.NewReader(body), "Content-Type", "application/cloudevents+json")
		if !strings.Contains(w.Body.String(), "SUCCESS") || len(d.taken) != want {
			t.Errorf("delivery %d: answer %s, taken %d times; want %d", n+1, w.Body, len(d.taken), want)
		}
		if n == 1 {
			if err := settle(t.Context(), e, nil); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestHalfAConsumerIsRefused(t *testing.T) {
	handle := func(context.Context, event.Event) error { return nil }
	for name, c := range map[string][]Consumer{
		"no handler":    {consumer(nil)},
		"no producer":   {{Handle: handle, Remember: 1, ReadPermission: "r", WritePermission: "w"}},
		"no memory":     {{Producers: []string{"payments"}, Handle: handle, ReadPermission: "r", WritePermission: "w"}},
		"no permission": {{Producers: []string{"payments"}, Handle: handle, Remember: 1}},
		"twice":         {consumer(handle), consumer(handle)},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newTestService(t)
			s.Sidecar = withoutSidecar(t, s)
			err := s.build(context.Background(), func(_ context.Context, s *Service) error {
				for _, c := range c {
					s.Consume(c)
				}
				return nil
			})
			if err == nil || !strings.Contains(err.Error(), "Consume") {
				t.Errorf("build: %v", err)
			}
		})
	}
}
