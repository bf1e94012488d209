package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"caravan/internal/correlation"
	"caravan/internal/event"
)

const appToken = "the-app-token"

func deliver(t *testing.T, h event.Handler, token, body string) (int, string) {
	t.Helper()
	s := NewSubscriber(SubscriberOptions{Token: appToken, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err := s.Handle("orders", h); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/events/orders", strings.NewReader(body))
	r.Header.Set(tokenHeader, token)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	var answer struct{ Status string }
	_ = json.Unmarshal(w.Body.Bytes(), &answer)
	return w.Code, answer.Status
}

func confirmed(t *testing.T) string {
	t.Helper()
	b, err := event.Event{
		ID: "orders/o1/3", Type: "orders.confirmed.v1", Source: "orders", Subject: "o1", Sequence: 3, Time: time.Now(),
		CorrelationID: "c-1", Data: json.RawMessage(`{"orderId":"o1"}`),
	}.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDeliveries(t *testing.T) {
	refuse := func(err error) event.Handler { return func(context.Context, event.Event) error { return err } }
	for _, c := range []struct {
		name    string
		handler event.Handler
		token   string
		body    string
		code    int
		status  string
	}{
		{"handled", refuse(nil), appToken, confirmed(t), 200, "SUCCESS"},
		{"may succeed later", refuse(event.Retry(errors.New("not known yet"))), appToken, confirmed(t), 200, "RETRY"},
		{"never will", refuse(errors.New("nonsense")), appToken, confirmed(t), 200, "DROP"},
		{"panics", func(context.Context, event.Event) error { panic("a bug") }, appToken, confirmed(t), 200, "DROP"},
		{"no token", refuse(nil), "", confirmed(t), 401, ""},
		{"another token", refuse(nil), "x", confirmed(t), 401, ""},
		{"no JSON", refuse(nil), appToken, "nonsense", 200, "DROP"},
		{"empty", refuse(nil), appToken, "", 200, "DROP"},
		{"no envelope", refuse(nil), appToken, `{"orderId":"o1"}`, 200, "DROP"},
		{"too large", refuse(nil), appToken, strings.Repeat("x", event.MaxSize+1), 200, "DROP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if code, status := deliver(t, c.handler, c.token, c.body); code != c.code || status != c.status {
				t.Errorf("answered %d %q; want %d %q", code, status, c.code, c.status)
			}
		})
	}
}

func TestAHandlerRunsInTheContextOfTheCause(t *testing.T) {
	_, status := deliver(t, func(ctx context.Context, e event.Event) error {
		if correlation.ID(ctx) != "c-1" || e.ID != "orders/o1/3" || e.Sequence != 3 {
			t.Errorf("correlation %q, event %+v", correlation.ID(ctx), e)
		}
		return nil
	}, appToken, confirmed(t))
	if status != "SUCCESS" {
		t.Errorf("status %s", status)
	}
}
