package reach

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"caravan/dapr/launcher/process"
)

func TestRelay(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var there atomic.Bool
	address, wait, err := Relay(ctx, func(ctx context.Context) (net.Conn, error) {
		if !there.Load() {
			return nil, errors.New("between two lives")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", server.Listener.Addr().String())
	})
	if err != nil {
		t.Fatal(err)
	}
	status := process.Status{Name: "orders-daprd", PID: 1, URL: "http://" + address.String()}
	if err := Serves(ctx, status); err == nil {
		t.Error("it serves although nothing is there")
	}
	there.Store(true)
	if err := Serves(ctx, status); err != nil {
		t.Error(err)
	}
	cancel()
	wait()
	if err := Serves(t.Context(), status); err == nil {
		t.Error("the relay did not end with its context")
	}
}

func TestServes(t *testing.T) {
	ready := map[string]bool{"/readyz": false, "/v1.0/healthz": true}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ready[r.URL.Path] {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	for _, c := range []struct {
		process.Status
		serves bool
	}{
		{process.Status{Name: "orders", PID: 1, URL: server.URL, State: process.Ready}, false},
		{process.Status{Name: "orders-daprd", PID: 1, URL: server.URL}, true},
		{process.Status{Name: "orders-daprd", URL: server.URL}, false},
		{process.Status{Name: "broker", PID: 1, State: process.Ready}, true},
		{process.Status{Name: "broker", PID: 1, State: process.Starting}, false},
	} {
		if err := Serves(t.Context(), c.Status); (err == nil) != c.serves {
			t.Errorf("%+v: %v", c.Status, err)
		}
	}
}
