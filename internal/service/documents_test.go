package service

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/internal/sidecar"
)

// withoutSidecar is a client of a sidecar that does not exist.
func withoutSidecar(t *testing.T, s *Service) *sidecar.Client {
	t.Helper()
	c, err := sidecar.New(sidecar.Options{AppID: s.Name, Host: "127.0.0.1", HTTPPort: 1, GRPCPort: 1, AppToken: appToken, Log: s.Log, Clock: s.Clock})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDocumentsComeWithTheirFeedAndRelay(t *testing.T) {
	s, _ := newTestService(t)
	s.Sidecar = withoutSidecar(t, s)
	var d *Documents
	started(t, s, func(_ context.Context, s *Service) error {
		d = s.Documents(func(typ string) bool { return typ == "orders.confirmed.v1" })
		return nil
	})
	published, unpublished := d.Options("order/"), d.Unpublished("draft/")
	if published.Prefix != "order/" || published.Source != "orders" || published.Index == nil || published.Relay == nil {
		t.Errorf("options are %+v", published)
	}
	if unpublished.Prefix != "draft/" || unpublished.Source != "orders" || unpublished.Index == nil || unpublished.Relay != nil {
		t.Errorf("options without relay are %+v", unpublished)
	}
	if len(s.workers) != 1 || s.workers[0].name != "relay" || !s.workers[0].last {
		t.Errorf("workers are %+v", s.workers)
	}
	published.Relay.Publish([]event.Event{{Type: "orders.placed.v1"}}) // must not wait
	body := strings.NewReader(`{"cursor":"nonsense"}`)
	if w := send(s, http.MethodPost, feed.Path, body, "Content-Type", "application/json"); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "cursor") {
		t.Errorf("the feed answers %d %s", w.Code, w.Body)
	}
}

func TestAProgramHasOneFeed(t *testing.T) {
	s, _ := newTestService(t)
	s.Sidecar = withoutSidecar(t, s)
	err := s.build(context.Background(), func(_ context.Context, s *Service) error {
		s.Documents(nil)
		s.Documents(nil)
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("build: %v", err)
	}
}
