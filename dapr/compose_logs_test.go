package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestTheStoreOfComposeIsAsked: with compose/observe.yaml, logs and trace ask the log store at its published port.
func TestTheStoreOfComposeIsAsked(t *testing.T) {
	withoutPasswords(t)
	composeRepository(t, "A=1")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		row := map[string]string{"_time": "2026-03-01T12:00:00Z", "_msg": "from the store", "instance": "orders", "kind": "log", "trace_id": "t-1", "file": "f", "offset": "0"}
		if strings.Contains(r.PostFormValue("query"), "span") {
			row = map[string]string{"_time": "2026-03-01T12:00:00Z", "_msg": "POST /orders", "instance": "orders", "kind": "span", "trace_id": "t-1", "span_id": "s", "duration_ns": "1000000"}
		}
		_ = json.NewEncoder(w).Encode(row)
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	logStore := strings.ReplaceAll(published(address.Hostname(), address.Port()), "gateway", "logstore")
	orders := inspected("orders", healthy)
	for _, test := range []struct{ docker, args, says, complains string }{
		{orders + "," + logStore, "logs --correlation c1", "from the store", ""},
		{orders + "," + logStore, "trace c1", "POST /orders", ""},
		{orders, "logs --correlation c1", "second", ""},
		{orders, "trace c1", "", "compose/observe.yaml"},
	} {
		fakeDocker(t, "["+test.docker+"]")
		status, out, stderr := invoke(t, append(strings.Fields(test.args), "--target", "compose")...)
		if (status == exitOK) != (test.complains == "") || !strings.Contains(out, test.says) || !strings.Contains(stderr, test.complains) {
			t.Errorf("%s: status %d, said %q, %q", test.args, status, out, stderr)
		}
	}
}
