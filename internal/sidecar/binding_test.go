package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	"caravan/internal/clock"
	"caravan/internal/correlation"
)

func TestBindSendsDataAndMetadata(t *testing.T) {
	const html = "<p>Grüße & \"Wünsche\" \u2028 </p>"
	c := fakeSidecar(t, 200, "application/json", `{"refused":"550 no"}`, func(r *http.Request) {
		var body struct {
			Operation, Data string
			Metadata        map[string]string
		}
		raw, err := io.ReadAll(r.Body)
		if err := errors.Join(err, json.Unmarshal(raw, &body)); err != nil {
			t.Error(err)
		}
		if r.Method != http.MethodPost || r.URL.Path != "/v1.0/bindings/email" || r.Header.Get(tokenHeader) != "sidecar-token" ||
			r.Header.Get("traceparent") == "" || body.Operation != "create" || body.Data != html || body.Metadata["subject"] != "Hi\r\n" {
			t.Errorf("%s %s %v %+v", r.Method, r.URL.Path, r.Header, body)
		}
	})
	ctx := correlation.Remote(t.Context(), "c-1", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	answer, err := c.Bind(ctx, EmailBinding, "create", []byte(html), map[string]string{"subject": "Hi\r\n"})
	if err != nil || string(answer) != `{"refused":"550 no"}` {
		t.Errorf("%s %v", answer, err)
	}
}

func TestBindAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		failed bool
		text   string
	}{
		"no data":     {204, "", false, ""},
		"failure":     {500, `{"errorCode":"ERR_INVOKE_OUTPUT_BINDING","message":"error invoking output binding email: 451"}`, true, "output binding email: ERR_INVOKE_OUTPUT_BINDING: error invoking output binding email: 451"},
		"wrong token": {401, "invalid api token", true, "output binding email: status 401"},
		"nonsense":    {502, "<html>", true, "output binding email: status 502"},
	} {
		answer, err := fakeSidecar(t, c.status, "application/json", c.body, func(*http.Request) {}).Bind(t.Context(), "email", "create", nil, nil)
		var failed *BindingError
		if errors.As(err, &failed) != c.failed || c.failed && (failed.Status != c.status || err.Error() != c.text) || answer != nil {
			t.Errorf("%s: %q %v", name, answer, err)
		}
	}
	if _, err := fakeSidecar(t, 204, "", "", func(*http.Request) { t.Error("it was sent") }).Bind(t.Context(), "email", "create", []byte("\xff"), nil); err == nil {
		t.Error("data that is not UTF-8 was accepted")
	}
}

func TestBindEndsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done(): // as the sidecar sees it
			close(ended)
		case <-release:
		}
	}))
	defer server.Close()
	defer close(release)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Options{HTTPPort: port, GRPCPort: 1, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = c.Bind(ctx, "email", "create", nil, nil)
	var failed *BindingError
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &failed) || failed.Status != 0 {
		t.Errorf("err = %v", err)
	}
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("the sidecar still works on the call")
	}
}
