package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"caravan/internal/problem"
)

// planted is a failure of a try, as daprd 1.18.1 and the network cause it.
type planted func(r *http.Request) (*http.Response, error)

// sidecarSays is an error in the form of daprd.
func sidecarSays(message string) planted {
	return func(r *http.Request) (*http.Response, error) {
		body := fmt.Sprintf(`{"errorCode":"ERR_DIRECT_INVOKE","message":%q}`, "failed to invoke, id: orders, err: "+message)
		return reply(r, 500, "application/json", body), nil
	}
}

func breaks(err error) planted {
	return func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("dial: %w", err) }
}

func answers(status int, contentType, body string) planted {
	return func(r *http.Request) (*http.Response, error) { return reply(r, status, contentType, body), nil }
}

func reply(r *http.Request, status int, contentType, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Request: r,
		ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}
}

const invokeFailed = `rpc error: code = Internal desc = error invoking app channel: Post "http://orders:7003/v1/orders": `

// The class of each failure, and so which calls are sent again.
var plantedFailures = map[string]struct {
	failure planted
	loss    Loss
}{
	"no replica":             {sidecarSays("rpc error: code = Unavailable desc = no replica can be reached: dial tcp 172.18.0.4:50002: connect: connection refused"), Unsent},
	"stock: not dialled":     {sidecarSays(`rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp 172.18.0.4:50002: connect: connection refused"`), Unsent},
	"program not there":      {sidecarSays(invokeFailed + "dial tcp 172.18.0.4:7003: connect: connection refused"), Unsent},
	"program without a name": {sidecarSays(invokeFailed + "dial tcp: lookup orders on 127.0.0.11:53: read udp 127.0.0.1:4->127.0.0.11:53: i/o timeout"), Unsent},
	"program not seen yet":   {sidecarSays("rpc error: code = Internal desc = app channel is not initialized"), Unsent},
	"program unhealthy":      {sidecarSays(invokeFailed + "app is not in a healthy state"), Unsent},
	"own sidecar starting":   {sidecarSays("invoke API is not ready"), Unsent},
	"own sidecar not there":  {breaks(&os.SyscallError{Err: syscall.ECONNREFUSED}), Unsent},
	"sidecar died":           {sidecarSays("rpc error: code = Unavailable desc = error reading from server: EOF"), Lost},
	"program died":           {sidecarSays(invokeFailed + "EOF"), Lost},
	"program reset":          {sidecarSays(invokeFailed + "read tcp 172.18.0.2:1->172.18.0.4:7003: read: connection reset by peer"), Lost},
	"empty 200":              {answers(200, "", ""), Lost},
	"own sidecar reset":      {breaks(&os.SyscallError{Err: syscall.ECONNRESET}), Lost},
	"own sidecar closed":     {breaks(io.EOF), Lost},
	"late":                   {sidecarSays(invokeFailed + "context deadline exceeded"), None},
	"breaker open":           {sidecarSays("circuit breaker is open"), None},
	"refused by its rules":   {sidecarSays("rpc error: code = PermissionDenied desc = access control policy has denied access"), None},
	"another error":          {answers(500, "application/json", `{"errorCode":"ERR_OTHER","message":"code = Unavailable"}`), None},
	"not daprd's form":       {answers(502, "text/plain", "code = Unavailable"), None},
	"own sidecar garbled":    {breaks(errors.New("malformed HTTP response")), None},
	"program's 500":          {answers(500, problem.ContentType, `{"detail":"code = Unavailable"}`), None},
	"program's 503":          {answers(503, problem.ContentType, `{}`), None},
	"program's 404":          {answers(404, problem.ContentType, `{}`), None},
	"program's answer":       {answers(202, "application/json", `{"errorCode":"ERR_DIRECT_INVOKE","message":"code = Unavailable"}`), None},
}

func TestWhatIsSentAgain(t *testing.T) {
	const body = `{"items":[]}`
	for call, tc := range map[string]struct {
		method, target, key, body string
		lost                      bool // whether it is sent again although it may have arrived
	}{
		"safe":                   {"GET", "/v1/orders/o1", "", "", true},
		"safe, not on offer":     {"GET", "/v1/products", "", "", false},
		"with a key":             {"POST", "/v1/orders", `"k"`, body, true},
		"with a key, no body":    {"POST", "/v1/orders", `"k"`, "", true},
		"without a key":          {"POST", "/v1/orders", "", body, false},
		"no key is looked at":    {"DELETE", "/v1/orders/o1", `"k"`, "", false},
		"without anything":       {"DELETE", "/v1/orders/o1", "", "", false},
		"safe, with query":       {"GET", "/v1/orders/o1?a=code%20=%20Unavailable", "", "", true},
		"chunked, with a key":    {"POST", "/v1/orders", `"k"`, "chunked" + body, true},
		"chunked, without a key": {"POST", "/v1/orders", "", "chunked" + body, false},
	} {
		for failure, plan := range plantedFailures {
			again := plan.loss == Unsent || plan.loss == Lost && tc.lost
			t.Run(call+"/"+failure, func(t *testing.T) {
				s := newStage(t, settings())
				var repeats []Repeat
				s.forwarder.repeated = func(_ context.Context, r Repeat) { repeats = append(repeats, r) }
				var sent []string
				s.forwarder.transport = fakeTransport(func(r *http.Request) (*http.Response, error) {
					got := r.Method + " " + r.URL.RequestURI() + " " + r.Header.Get("Idempotency-Key") + " "
					if r.Body != nil {
						all, err := io.ReadAll(r.Body)
						if err != nil {
							t.Error(err)
						}
						got += string(all)
					}
					if sent = append(sent, got); len(sent) == 1 {
						return plan.failure(r)
					}
					return reply(r, 202, "application/json", `{"second":true}`), nil
				})
				text, chunked := strings.CutPrefix(tc.body, "chunked")
				r := httptest.NewRequest(tc.method, tc.target, strings.NewReader(text))
				if chunked {
					r.ContentLength = -1
				}
				if tc.key != "" {
					r.Header.Set("Idempotency-Key", tc.key)
				}
				w, err := s.do(t, r, true)
				if !again {
					if len(sent) != 1 || len(repeats) != 0 {
						t.Fatalf("sent %q, want it once", sent)
					}
					return
				}
				if err != nil || w.Code != 202 || w.Body.String() != `{"second":true}` {
					t.Errorf("got %d %s, %v, want the second answer", w.Code, w.Body, err)
				}
				if len(sent) != 2 || sent[0] != sent[1] || !strings.HasSuffix(sent[0], text) {
					t.Errorf("sent %q, want the same twice", sent)
				}
				if len(repeats) != 1 || repeats[0].Loss != plan.loss || repeats[0].Failed || repeats[0].Cause == nil || repeats[0].Route.Method != tc.method {
					t.Errorf("reported %+v", repeats)
				}
				if got := stateOf(s.forwarder.breakers, s.appOf(t, r)); got.Requests != 1 || got.Failures != 0 {
					t.Errorf("the breaker counted %d calls, %d failures, want one success", got.Requests, got.Failures)
				}
			})
		}
	}
}

// A call that fails twice is not sent a third time, and counts as one failure.
func TestNothingIsSentThreeTimes(t *testing.T) {
	for failure, plan := range plantedFailures {
		if plan.loss == None {
			continue
		}
		s := newStage(t, settings())
		var repeats []Repeat
		s.forwarder.repeated = func(_ context.Context, r Repeat) { repeats = append(repeats, r) }
		sent := 0
		s.forwarder.transport = fakeTransport(func(r *http.Request) (*http.Response, error) {
			sent++
			return plan.failure(r)
		})
		r := httptest.NewRequest("GET", "/v1/orders/o1", nil)
		_, err := s.do(t, r, true)
		if p := problem.From(err); p == nil || p.Status != 503 || sent != 2 {
			t.Errorf("%s: sent %d times, %v, want twice and a 503", failure, sent, err)
		}
		if len(repeats) != 1 || !repeats[0].Failed {
			t.Errorf("%s: reported %+v, want one repeat that failed", failure, repeats)
		}
		if got := stateOf(s.forwarder.breakers, "orders"); got.Requests != 1 || got.Failures != 1 {
			t.Errorf("%s: the breaker counted %d calls, %d failures, want one failure", failure, got.Requests, got.Failures)
		}
	}
}

// Nothing is sent again when its caller has left or its time is over.
func TestNothingIsSentAgainForNobody(t *testing.T) {
	for name, tc := range map[string]struct {
		timeout time.Duration
		leave   bool
	}{"left": {time.Minute, true}, "late": {time.Millisecond, false}} {
		s := newStage(t, settings())
		ctx, leave := context.WithCancel(t.Context())
		sent := 0
		s.forwarder.transport = fakeTransport(func(r *http.Request) (*http.Response, error) {
			if sent++; tc.leave {
				leave()
			}
			<-r.Context().Done()
			return sidecarSays("rpc error: code = Unavailable desc = error reading from server: EOF")(r)
		})
		s.table.Routes()[0].Timeout = tc.timeout
		_, err := s.do(t, httptest.NewRequest("GET", "/v1/orders/o1", nil).WithContext(ctx), true)
		if err == nil || sent != 1 {
			t.Errorf("%s: sent %d times, %v", name, sent, err)
		}
		leave()
	}
}

// A body that is not complete cannot be sent again.
func TestABodyThatIsStillComingIsNotSentAgain(t *testing.T) {
	s := newStage(t, settings())
	sent := 0
	s.forwarder.transport = fakeTransport(func(r *http.Request) (*http.Response, error) {
		sent++
		if _, err := r.Body.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		return sidecarSays("rpc error: code = Unavailable desc = error reading from server: EOF")(r)
	})
	r := httptest.NewRequest("POST", "/v1/orders", strings.NewReader(`{"items":[]}`))
	r.Header.Set("Idempotency-Key", `"k"`)
	if _, err := s.do(t, r, true); problem.From(err) == nil || problem.From(err).Status != 503 || sent != 1 {
		t.Errorf("sent %d times, %v", sent, err)
	}
}

// An answer that breaks off is not requested again, because a part of it was passed on.
func TestABrokenAnswerIsNotAskedForAgain(t *testing.T) {
	s := newStage(t, settings())
	sent := 0
	s.forwarder.transport = fakeTransport(func(r *http.Request) (*http.Response, error) {
		sent++
		response := reply(r, 200, "application/json", "")
		response.ContentLength, response.Body = 100, brokenBody{err: syscall.ECONNRESET}
		return response, nil
	})
	defer func() {
		if recovered := recover(); recovered != http.ErrAbortHandler || sent != 1 {
			t.Errorf("got %v, sent %d times, want the handler aborted", recovered, sent)
		}
	}()
	_, err := s.do(t, httptest.NewRequest("GET", "/v1/orders/o1", nil), true)
	t.Errorf("the handler went on: %v", err)
}

// appOf is the app that answers a request.
func (s *stage) appOf(t *testing.T, r *http.Request) string {
	t.Helper()
	match, err := s.table.Match(r.Method, r.URL.Path)
	if err != nil {
		t.Fatal(err)
	}
	return match.Route.App
}
