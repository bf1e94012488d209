package service

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/clock"
	"caravan/internal/event"
	"caravan/internal/sidecar"
	"caravan/internal/subscription"
)

// brokerless is a sidecar whose broker is unavailable: nothing is concluded from heartbeats.
type brokerless struct{ t *testing.T }

func (brokerless) Subscriptions(context.Context) ([]string, error) { return []string{"orders"}, nil }
func (brokerless) SendHeartbeat(context.Context, string, sidecar.Heartbeat) error {
	return errors.New("no broker")
}
func (b brokerless) Shutdown(context.Context, bool) error {
	b.t.Error("the sidecar was asked to end")
	return nil
}

// A handler that never returns: its delivery is given back after the limit, other events are handled, and the program ends
// to be restarted.
func TestAStuckHandlerDoesNotHoldTheConsumerForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newTestService(t)
		s.Clock, s.Jitter, s.Log = clock.System{}, rand.Float64, slog.New(slog.DiscardHandler)
		release := make(chan struct{})
		s.subscribe("orders", func(_ context.Context, e event.Event) error {
			if e.Subject == "stuck" {
				<-release
			}
			return nil
		})
		if err := s.monitorSubscriptions(brokerless{t}); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { _ = s.monitor.Run(ctx) })

		began := time.Now()
		if got := deliverTo(t, s, "stuck"); !strings.Contains(got, "RETRY") {
			t.Errorf("the sidecar was told %s", got)
		}
		if took, limit := time.Since(began), s.Settings.HTTP.RequestTimeout+handlerGrace; took != limit {
			t.Errorf("the delivery was given back after %s; want %s", took, limit)
		}
		if got := deliverTo(t, s, "fine"); !strings.Contains(got, "SUCCESS") {
			t.Errorf("another event was answered %s", got)
		}
		if p := s.monitor.Health()["orders"]; p.InFlight != 1 || p.Oldest < 15 {
			t.Errorf("readiness shows %+v", p)
		}
		err := <-s.monitor.Broken()
		if took := time.Since(began); !errors.Is(err, subscription.ErrHandlerTimeout) || took < s.Settings.Heartbeat.HandlerTimeout || took > s.Settings.Heartbeat.HandlerTimeout+time.Minute {
			t.Errorf("after %s the program is to end for %v", took, err)
		}
		close(release)
		stop()
		running.Wait()
		time.Sleep(time.Minute)
	})
}

func deliverTo(t *testing.T, s *Service, subject string) string {
	t.Helper()
	raw, err := event.Event{ID: event.ID("orders", subject, 1), Type: "orders.placed.v1", Source: "orders", Subject: subject, Sequence: 1, Time: time.Now()}.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, sidecar.EventPath+"orders", strings.NewReader(string(raw)))
	r.Header.Set("dapr-api-token", appToken)
	w := httptest.NewRecorder()
	s.subscriber.Handler().ServeHTTP(w, r)
	return w.Body.String()
}
