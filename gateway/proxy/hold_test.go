package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"caravan/gateway/route"
	"caravan/internal/problem"
)

// restarting is a service that is unavailable for some time. Then it answers long polls when its order has ended.
type restarting struct {
	t        *testing.T
	from, to time.Time // when it is unavailable
	ends     time.Time // when the order ends
	away     func() (*http.Response, error)
	hangs    bool            // it never answers
	asked    []time.Duration // the wait of each request
	at       []time.Time     // the time of each request
}

// RoundTrip answers a request.
func (s *restarting) RoundTrip(r *http.Request) (*http.Response, error) {
	now := time.Now()
	hold, err := time.ParseDuration(r.URL.Query().Get("wait"))
	if err != nil {
		s.t.Errorf("the query is %s", r.URL.RawQuery)
	}
	if r.URL.Query().Get("a") != "b c" {
		s.t.Errorf("the query lost what else it held: %s", r.URL.RawQuery)
	}
	s.asked, s.at = append(s.asked, hold), append(s.at, now)
	if s.hangs {
		hold = time.Hour
	}
	down := func() bool { return !time.Now().Before(s.from) && time.Now().Before(s.to) }
	if down() {
		return s.reply(r, s.away)
	}
	until := now.Add(hold)
	if s.ends.Before(until) {
		until = s.ends
	}
	if s.from.After(now) && s.from.Before(until) { // it stops during the long poll
		if err := pass(r.Context(), s.from.Sub(now)); err != nil {
			return nil, err
		}
		return s.reply(r, s.away)
	}
	if err := pass(r.Context(), max(until.Sub(now), 0)); err != nil {
		return nil, err
	}
	status := "placed"
	if !time.Now().Before(s.ends) {
		status = "confirmed"
	}
	return s.reply(r, func() (*http.Response, error) { return answered(200, "application/json", status), nil })
}

func (s *restarting) reply(r *http.Request, with func() (*http.Response, error)) (*http.Response, error) {
	response, err := with()
	if err == nil {
		response.Request = r
	}
	return response, err
}

func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func answered(status int, media, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {media}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// hold asks for an order through a forwarder to the service.
func (s *restarting) hold(ctx context.Context, b *Breakers, query string) (int, string, error) {
	return s.send(ctx, b, "GET", "/v1/orders/o1", query)
}

// send makes a request whose answer can be held back.
func (s *restarting) send(ctx context.Context, b *Breakers, method, path, query string) (int, string, error) {
	table, err := route.Parse([]byte(routesFile), route.Known{})
	if err != nil {
		s.t.Fatal(err)
	}
	f := New(Settings{Sidecar: &url.URL{Scheme: "http", Host: "sidecar"}, Transport: s, Breakers: b})
	match, err := table.Match(method, path)
	if err != nil {
		s.t.Fatal(err)
	}
	timeout, _ := match.Route.TimeoutOf(query, nil)
	w := httptest.NewRecorder()
	err = f.Forward(w, httptest.NewRequest(method, path, nil).WithContext(ctx), &Call{Match: match, Query: query, Timeout: timeout, Wait: timeout - match.Route.Timeout})
	return w.Code, w.Body.String(), err
}

func usual() BreakerSettings {
	return BreakerSettings{Consecutive: 5, Ratio: 0.5, Requests: 20, Window: 10 * time.Second, Open: 5 * time.Second, Probes: 3}
}

func problemOf(p *problem.Problem) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		body, err := p.MarshalJSON()
		response := answered(p.Status, problem.ContentType, string(body))
		if p.Shed {
			response.Header.Set(problem.ShedHeader, "1")
		}
		return response, err
	}
}

// A long poll survives a restart of the service, whatever the service answers meanwhile.
func TestAHeldRequestOutlastsARestart(t *testing.T) {
	for name, away := range map[string]func() (*http.Response, error){
		"refused":    func() (*http.Response, error) { return nil, syscall.ECONNREFUSED },
		"reset":      func() (*http.Response, error) { return nil, syscall.ECONNRESET },
		"no sidecar": func() (*http.Response, error) { return nil, errors.New("malformed HTTP response") },
		"no app": func() (*http.Response, error) {
			return answered(500, "application/json", `{"errorCode":"ERR_DIRECT_INVOKE"}`), nil
		},
		"plain 502":    func() (*http.Response, error) { return answered(502, "text/plain", "bad gateway"), nil },
		"empty 200":    func() (*http.Response, error) { return answered(200, "application/json", ""), nil },
		"draining":     problemOf(problem.Unavailable("draining", "", time.Second)),
		"starting":     problemOf(problem.Unavailable("starting", "", time.Second)),
		"no store yet": problemOf(problem.Unavailable("try-again", "", time.Second)),
	} {
		for _, after := range []time.Duration{0, time.Second, 3 * time.Second} {
			t.Run(fmt.Sprintf("%s after %s", name, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					began := time.Now()
					s := &restarting{t: t, away: away, from: began.Add(after), to: began.Add(after + 2*time.Second), ends: began.Add(after + 4*time.Second)}
					b := NewBreakers([]string{"orders"}, usual(), func(string, string, string) {})
					status, body, err := s.hold(t.Context(), b, "a=b+c&wait=10s")
					if err != nil || status != 200 || body != "confirmed" {
						t.Errorf("got %d %s, %v", status, body, err)
					}
					if took := time.Since(began); took != after+4*time.Second {
						t.Errorf("it took %s", took)
					}
					for i, hold := range s.asked {
						if end := s.at[i].Add(hold); end.After(began.Add(10 * time.Second)) {
							t.Errorf("ask %d at %s was for %s, beyond the wait", i, s.at[i].Sub(began), hold)
						}
					}
					if len(s.asked) < 3 || len(s.asked) > 9 {
						t.Errorf("it was asked %d times", len(s.asked))
					}
					if got := b.Status()[0]; got.State != "closed" || got.Failures > 1 {
						t.Errorf("one request counted as %+v", got)
					}
				})
			})
		}
	}
}

// A command whose answer is held back is sent once, with its wait, unless it is a probe of the breaker.
func TestACommandIsHeldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreakers([]string{"orders"}, usual(), func(string, string, string) {})
		s := &restarting{t: t, ends: time.Now().Add(4 * time.Second)}
		if status, body, err := s.send(t.Context(), b, "POST", "/v1/orders", "a=b+c&wait=10s"); err != nil || status != 200 || body != "confirmed" || len(s.asked) != 1 {
			t.Errorf("got %d %s, %v after %v", status, body, err, s.asked)
		}
		for range 5 {
			done, err := b.allow("orders")
			if err != nil {
				t.Fatal(err)
			}
			done(errFailed)
		}
		time.Sleep(usual().Open + time.Second)
		s = &restarting{t: t, ends: time.Now().Add(time.Hour)}
		if status, body, err := s.send(t.Context(), b, "POST", "/v1/orders", "a=b+c&wait=10s"); err != nil || status != 200 || body != "placed" || s.asked[0] != 0 {
			t.Errorf("a probe got %d %s, %v after %v", status, body, err, s.asked)
		}
	})
}

// If a service stays unavailable, it is not called too often. At the end the caller gets a 503 with a Retry-After.
func TestAHeldRequestEndsWithItsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := &restarting{t: t, from: began, to: began.Add(time.Hour), away: problemOf(problem.Unavailable("starting", "", time.Second))}
		b := NewBreakers([]string{"orders"}, usual(), func(string, string, string) {})
		status, _, err := s.hold(t.Context(), b, "wait=10s&a=b+c")
		if err != nil || status != 503 {
			t.Errorf("got %d, %v", status, err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("it took %s", took)
		}
		if n := len(s.asked); n > 25 || s.asked[n-1] != 0 {
			t.Errorf("it was asked for %v", s.asked)
		}
		s.away = func() (*http.Response, error) { return nil, syscall.ECONNREFUSED }
		if _, _, err = s.hold(t.Context(), b, "wait=1s&a=b+c"); problem.From(err).Status != 503 || problem.From(err).RetryAfter <= 0 {
			t.Errorf("got %v", err)
		}
		s = &restarting{t: t, ends: began.Add(time.Hour), hangs: true}
		if _, _, err = s.hold(t.Context(), NewBreakers([]string{"orders"}, usual(), func(string, string, string) {}), "wait=10s&a=b+c"); problem.From(err).Status != 503 || len(s.asked) != 1 {
			t.Errorf("one that hangs: got %v after %d asks", err, len(s.asked))
		}
	})
}

// A long poll waits for a breaker that other calls opened. Long polls as probes do not keep it from closing.
func TestAHeldRequestWaitsForTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		b := NewBreakers([]string{"orders"}, usual(), func(string, string, string) {})
		for range 5 {
			done, err := b.allow("orders")
			if err != nil {
				t.Fatal(err)
			}
			done(errFailed)
		}
		type outcome struct {
			status int
			body   string
			err    error
		}
		outcomes := make(chan outcome, 10)
		for range cap(outcomes) {
			go func() {
				s := &restarting{t: t, ends: began.Add(9 * time.Second)}
				status, body, err := s.hold(t.Context(), b, "a=b+c&wait=10s")
				if len(s.asked) > 6 {
					t.Errorf("the service was asked %d times", len(s.asked))
				}
				outcomes <- outcome{status, body, err}
			}()
		}
		wait(t, 7*time.Second)
		if got := b.Status()[0]; got.State != "closed" {
			t.Errorf("while the requests are held the breaker is %s", got.State)
		}
		for range cap(outcomes) {
			if got := <-outcomes; got.status != 200 || got.body != "confirmed" || got.err != nil {
				t.Errorf("got %+v", got)
			}
		}
		if took := time.Since(began); took != 9*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// When a caller leaves, the calls end. A refusal by the service is final.
func TestWhatEndsAHeldRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		b := NewBreakers([]string{"orders"}, usual(), func(string, string, string) {})
		ctx, leave := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer leave()
		s := &restarting{t: t, from: began, to: began.Add(time.Hour), away: problemOf(problem.Unavailable("starting", "", time.Second))}
		if _, _, err := s.hold(ctx, b, "a=b+c&wait=10s"); !errors.Is(err, ErrCallerLeft) || time.Since(began) != 1500*time.Millisecond {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		for _, p := range []*problem.Problem{problem.NotFound("order"), problem.Unauthorized(""), problem.Internal(), problem.Busy("busy", "", time.Second)} {
			s := &restarting{t: t, to: began.Add(time.Hour), away: problemOf(p)}
			if status, _, err := s.hold(t.Context(), b, "a=b+c&wait=10s"); err != nil || status != p.Status || len(s.asked) != 1 {
				t.Errorf("%d was asked for %d times and became %d, %v", p.Status, len(s.asked), status, err)
			}
		}
	})
}
