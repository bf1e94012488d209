package bench

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/dapr/launcher/process"
)

// preferring is a gateway that keeps the preferences and the devices of one user.
type preferring struct {
	mu      sync.Mutex
	wishes  client.NotificationPreferences
	devices []client.PushSubscription
	push    bool
}

func (p *preferring) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := func(status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/preferences") && r.Method == http.MethodGet:
		answer(http.StatusOK, client.NotificationPreferences{Locale: "de", TimeZone: "UTC", Rules: defaults})
	case strings.HasSuffix(r.URL.Path, "/preferences"):
		_ = json.NewDecoder(r.Body).Decode(&p.wishes)
		answer(http.StatusOK, p.wishes)
	case !p.push:
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"type":"urn:caravan:problem:push-off","status":503}`))
	case r.Method == http.MethodGet:
		answer(http.StatusOK, client.PushSubscriptionList{Items: p.devices})
	case r.Method == http.MethodPost:
		p.devices = append(p.devices, client.PushSubscription{ID: "new"})
		answer(http.StatusCreated, p.devices[len(p.devices)-1])
	default:
		p.devices = slices.DeleteFunc(p.devices, func(d client.PushSubscription) bool { return strings.HasSuffix(r.URL.Path, "/"+d.ID) })
		w.WriteHeader(http.StatusNoContent)
	}
}

var defaults = []client.NotificationRule{
	{Kind: "welcome", Channel: "email", Enabled: true}, {Kind: "order-confirmed", Channel: "in-app", Enabled: true},
	{Kind: "order-confirmed", Channel: "email", Enabled: true}, {Kind: "order-confirmed", Channel: "push", Enabled: true},
}

func TestUsersGetTheMessagesThatAreMeasured(t *testing.T) {
	for messages, want := range map[string]struct {
		off     string
		devices string
	}{
		MessagesNone: {"email push", ""}, MessagesEmail: {"push", ""}, MessagesPush: {"email", "new"},
	} {
		gateway := &preferring{push: true, devices: []client.PushSubscription{{ID: "old-1"}, {ID: "old-2"}}}
		server := httptest.NewServer(gateway)
		d := newDevices()
		s := &shop{users: []*client.Client{client.New(server.URL, server.Client())}}
		if err := s.wish(t.Context(), messages, d); err != nil {
			t.Errorf("%s: %v", messages, err)
		}
		var off, devices []string
		for _, rule := range gateway.wishes.Rules {
			if rule.Kind != "order-confirmed" || rule.Enabled {
				t.Errorf("%s: the rule %+v", messages, rule)
			}
			off = append(off, string(rule.Channel))
		}
		for _, device := range gateway.devices {
			devices = append(devices, device.ID)
		}
		if strings.Join(off, " ") != want.off || strings.Join(devices, " ") != want.devices || gateway.wishes.Locale != "de" {
			t.Errorf("%s: off are %v, devices %v, and the preferences are %+v", messages, off, devices, gateway.wishes)
		}
		gateway.push = false // a stack without push
		if err := s.wish(t.Context(), messages, d); (err != nil) != (messages == MessagesPush) {
			t.Errorf("%s without push: %v", messages, err)
		}
		d.close()
		server.Close()
	}
}

func TestALoadEndsWhenItsMessagesAreSent(t *testing.T) {
	var asked int
	stack := Target{Report: func(context.Context) (launcher.Report, error) {
		asked++
		busy := time.Duration(min(asked, 2)) * time.Second // until the second time
		return launcher.Report{Processes: []launcher.ProcessReport{
			{Status: process.Status{Name: "notifications"}, Work: process.Work{CPU: busy}}, {Status: process.Status{Name: "orders"}, Work: process.Work{CPU: time.Duration(asked) * time.Hour}},
			{Status: process.Status{Name: "notifications-daprd"}, Work: process.Work{CPU: time.Duration(asked) * time.Hour}},
		}}, nil
	}}
	if err := settle(t.Context(), stack, time.Minute); err != nil || asked != 3 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	asked = 0
	if err := settle(t.Context(), Target{Report: func(context.Context) (launcher.Report, error) { asked++; return launcher.Report{}, nil }}, time.Minute); err != nil || asked != 1 {
		t.Errorf("of an unknown stack, asked %d times, %v", asked, err)
	}
}
