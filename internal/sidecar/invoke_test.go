package sidecar

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"

	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/invoke"
)

// fakeSidecar answers invocations with one status, content type and body.
func fakeSidecar(t *testing.T, status int, contentType, body string, seen func(*http.Request)) *Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen(r)
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Options{AppID: "orders", HTTPPort: port, GRPCPort: 1, Token: "sidecar-token", Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestInvokeCarriesTokenAndCorrelation(t *testing.T) {
	c := fakeSidecar(t, 200, "application/json", `{"answer":42}`, func(r *http.Request) {
		if r.URL.Path != "/v1.0/invoke/payments/method/internal/authorize" || r.Header.Get(tokenHeader) != "sidecar-token" ||
			r.Header.Get(correlation.Header) != "c-1" || r.Header.Get("traceparent") == "" {
			t.Errorf("%s %v", r.URL.Path, r.Header)
		}
	})
	ctx := correlation.Remote(t.Context(), "c-1", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	var out struct{ Answer int }
	if err := c.Invoker().Invoke(ctx, "payments", "/internal/authorize", struct{}{}, &out); err != nil || out.Answer != 42 {
		t.Fatal(out, err)
	}
}

func TestInvokeFailures(t *testing.T) {
	for _, c := range []struct {
		name              string
		status            int
		contentType, body string
		unavailable, open bool
		slug              string
	}{
		{"breaker open", 500, "application/json", `{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: payments, err: circuit breaker is open"}`, true, true, ""},
		{"half-open and busy", 500, "application/json", `{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: payments, err: too many requests"}`, true, true, ""},
		{"app is down", 500, "application/json", `{"errorCode":"ERR_DIRECT_INVOKE","message":"error invoking app channel"}`, true, false, ""},
		{"callee overloaded", 503, "application/problem+json", `{"type":"urn:caravan:problem:store-unavailable","title":"x","status":503}`, true, false, "store-unavailable"},
		{"callee refuses", 422, "application/problem+json", `{"type":"urn:caravan:problem:operation-id-reused","title":"x","status":422}`, false, false, "operation-id-reused"},
		{"no such path", 404, "text/plain", `404`, false, false, ""},
		{"nonsense instead of JSON", 200, "application/json", `<html>`, true, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := fakeSidecar(t, c.status, c.contentType, c.body, func(*http.Request) {})
			var out struct{}
			err := client.Invoker().Invoke(t.Context(), "payments", "/internal/capture", struct{}{}, &out)
			var e *invoke.Error
			if !errors.As(err, &e) || errors.Is(err, invoke.ErrUnavailable) != c.unavailable || e.BreakerOpen != c.open {
				t.Fatalf("err = %#v", err)
			}
			if c.slug != "" && (e.Detail == nil || e.Detail.Slug() != c.slug) {
				t.Errorf("detail %v", e.Detail)
			}
			if got := len(client.Breakers()); (got == 1) != c.open {
				t.Errorf("%d breakers seen", got)
			}
		})
	}
}

func TestAnAbsentSidecarIsUnavailable(t *testing.T) {
	c, err := New(Options{HTTPPort: 1, GRPCPort: 1, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Invoker().Invoke(t.Context(), "payments", "/x", struct{}{}, nil); !errors.Is(err, invoke.ErrUnavailable) {
		t.Errorf("err = %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Invoker().Invoke(cancelled, "payments", "/x", struct{}{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}
