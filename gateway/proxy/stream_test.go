package proxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"caravan/gateway/route"
)

// streaming is a service whose stream sends one event and then another after a while, unless its request ends before.
type streaming struct {
	t       *testing.T
	silence time.Duration // before the answer
	goes    time.Duration // how long the stream takes
	breaks  bool          // it ends with an error
}

// RoundTrip answers a request.
func (s streaming) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Last-Event-ID") != "7" || r.Header.Get("Accept") != "" {
		s.t.Errorf("the request has the header %v", r.Header)
	}
	if err := pass(r.Context(), s.silence); err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	go func() {
		_, _ = io.WriteString(in, "data: 1\n\n")
		err := pass(r.Context(), s.goes)
		if err == nil {
			_, err = io.WriteString(in, "data: 2\n\n")
		}
		if s.breaks {
			err = io.ErrUnexpectedEOF
		}
		in.CloseWithError(err)
	}()
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: out, ContentLength: -1, Request: r}, nil
}

// TestStreamsHaveNoTimeoutButTheirBeginning also covers a stream that the gateway ends, which is a complete answer, and one that
// breaks, which is not.
func TestStreamsHaveNoTimeoutButTheirBeginning(t *testing.T) {
	for name, c := range map[string]struct {
		service streaming
		drain   time.Duration
		want    string
		refused bool
		broken  bool
	}{
		"long":    {streaming{goes: time.Hour}, 2 * time.Hour, "data: 1\n\ndata: 2\n\n", false, false},
		"ended":   {streaming{goes: time.Hour}, time.Minute, "data: 1\n\n", false, false},
		"silent":  {streaming{silence: time.Hour}, 2 * time.Hour, "", true, false},
		"breaks":  {streaming{goes: time.Second, breaks: true}, time.Hour, "data: 1\n\ndata: 2\n\n", false, true},
		"at once": {streaming{}, time.Hour, "data: 1\n\ndata: 2\n\n", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table, err := route.Parse([]byte("apps: [orders]\nroutes:\n  - { method: GET, path: /s, app: orders, access: public, stream: true, timeout: 5s }\n"), route.Known{})
				if err != nil {
					t.Fatal(err)
				}
				match, err := table.Match("GET", "/s")
				if err != nil {
					t.Fatal(err)
				}
				c.service.t = t
				f := New(Settings{Sidecar: &url.URL{Scheme: "http", Host: "sidecar"}, Transport: c.service, Breakers: NewBreakers(table.Apps(), usual(), func(string, string, string) {})})
				ctx, cancel := context.WithTimeout(t.Context(), c.drain)
				defer cancel()
				r, w := httptest.NewRequest("GET", "/s", nil).WithContext(ctx), httptest.NewRecorder()
				r.Header.Set("Last-Event-ID", "7")
				r.Header.Set("Accept", "text/event-stream")
				began, broken := time.Now(), any(nil)
				func() {
					defer func() { broken = recover() }()
					err = f.Forward(w, r, &Call{Match: match, Timeout: match.Route.Timeout})
				}()
				if (err != nil) != c.refused || (broken == http.ErrAbortHandler) != c.broken || w.Body.String() != c.want {
					t.Errorf("got %v, panic %v, %q", err, broken, w.Body)
				}
				if took := time.Since(began); c.refused && took != 5*time.Second {
					t.Errorf("it waited %s for the beginning", took)
				}
			})
		})
	}
}
