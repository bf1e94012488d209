package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/clock"
	"caravan/internal/clock/clocktest"
)

func policy() *Policy {
	return &Policy{Fresh: 500 * time.Millisecond, Stale: 400 * time.Millisecond, Error: 30 * time.Second, Control: []string{"public, max-age=0"}}
}

func answerOf(body string) *Answer {
	return &Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"public, max-age=1, stale-if-error=30"}}, Body: []byte(body)}
}

func returns(a *Answer, err error) Call {
	return func(context.Context) (*Answer, error) { return a, err }
}

func forbidden(context.Context) (*Answer, error) { panic("a call was made") }

func TestWhatIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		change func(*Answer)
		kept   bool
	}{
		"a success":              {200, nil, true},
		"not found":              {404, nil, false},
		"an error":               {500, nil, false},
		"a partial answer":       {206, nil, false},
		"a redirect":             {301, nil, false},
		"a cookie":               {200, func(a *Answer) { a.Cookie = true }, false},
		"varies by language":     {200, func(a *Answer) { a.Header.Set("Vary", "Accept-Language") }, false},
		"varies by all":          {200, func(a *Answer) { a.Header.Set("Vary", "*") }, false},
		"no Cache-Control":       {200, func(a *Answer) { a.Header.Del("Cache-Control") }, false},
		"private":                {200, func(a *Answer) { a.Header.Set("Cache-Control", "private, max-age=5") }, false},
		"no-store":               {200, func(a *Answer) { a.Header.Set("Cache-Control", "no-store") }, false},
		"no-cache":               {200, func(a *Answer) { a.Header.Set("Cache-Control", "max-age=5, no-cache") }, false},
		"no lifetime":            {200, func(a *Answer) { a.Header.Set("Cache-Control", "public") }, false},
		"an ended lifetime":      {200, func(a *Answer) { a.Header.Set("Cache-Control", "max-age=0") }, false},
		"a shared lifetime of 0": {200, func(a *Answer) { a.Header.Set("Cache-Control", "max-age=9, s-maxage=0") }, false},
		"a malformed field":      {200, func(a *Answer) { a.Header.Set("Cache-Control", "max-age=1, max-age=2") }, false},
		"forbidden on line 2":    {200, func(a *Answer) { a.Header.Add("Cache-Control", "no-store") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			cache := New(Settings{Entries: 10, Bytes: 1 << 20, Clock: clocktest.At(time.Unix(1e9, 0))})
			answer := answerOf("body")
			answer.Status = c.status
			if c.change != nil {
				c.change(answer)
			}
			got, err := cache.Load(t.Context(), "/p", policy(), returns(answer, nil))
			if err != nil || got.Kind != Miss || got.Status != c.status || string(got.Body) != "body" {
				t.Errorf("the request that called got %+v, %v", got, err)
			}
			if _, kept := cache.Get("/p"); kept != c.kept {
				t.Errorf("kept: %v", kept)
			}
			if n, _ := cache.Size(); (n == 1) != c.kept {
				t.Errorf("there are %d entries", n)
			}
		})
	}
}

// What is kept has an entity tag of its body and the Cache-Control of the route; what a service says of its answer is left out.
func TestHeadersOfWhatIsKept(t *testing.T) {
	cache := New(Settings{Entries: 10, Bytes: 1 << 20, Clock: clocktest.At(time.Unix(1e9, 0))})
	one := answerOf("one")
	one.Header.Set("Expires", "Thu, 01 Jan 2099 00:00:00 GMT")
	found, err := cache.Load(t.Context(), "/1", policy(), returns(one, nil))
	if err != nil || !validTag(found.ETag) || found.Header.Get("Etag") != found.ETag || found.Header.Get("Cache-Control") != "public, max-age=0" || found.Header.Get("Expires") != "" {
		t.Errorf("got %+v, %v", found, err)
	}
	two, _ := cache.Load(t.Context(), "/2", policy(), returns(answerOf("two"), nil))
	same, _ := cache.Load(t.Context(), "/3", policy(), returns(answerOf("one"), nil))
	if two.ETag == found.ETag || same.ETag != found.ETag {
		t.Errorf("tags %s, %s and %s", found.ETag, two.ETag, same.ETag)
	}
	own := answerOf("one")
	own.Header.Set("Etag", `W/"own"`)
	if got, _ := cache.Load(t.Context(), "/4", policy(), returns(own, nil)); got.ETag != `W/"own"` || own.Header.Get("Cache-Control") == "public, max-age=0" {
		t.Errorf("the tag of the service became %s; its answer %v", got.ETag, own.Header)
	}
}

// A service shortens the times of the route, and cannot lengthen them.
func TestLifetimes(t *testing.T) {
	for control, want := range map[string]struct{ fresh, stale, failing time.Duration }{
		"max-age=1":                                    {500, 900, 1000},
		"max-age=1, stale-if-error=5":                  {500, 900, 6000},
		"max-age=60, stale-if-error=60":                {500, 900, 30000},
		"max-age=60, must-revalidate":                  {500, 900, 30000},
		"max-age=1, must-revalidate, stale-if-error=5": {500, 900, 1000},
		"s-maxage=1, stale-if-error=5":                 {500, 900, 1000},
	} {
		answer := answerOf("")
		answer.Header.Set("Cache-Control", control)
		e, ok := keep("/p", policy(), answer, time.Unix(1e9, 0))
		if !ok || e.fresh != want.fresh*time.Millisecond || e.stale != want.stale*time.Millisecond || e.failing != want.failing*time.Millisecond {
			t.Errorf("%s: %+v", control, e)
		}
	}
}

func TestFailures(t *testing.T) {
	clk := clocktest.At(time.Unix(1e9, 0))
	cache := New(Settings{Entries: 10, Bytes: 1 << 20, Clock: clk})
	down := errors.New("the service is down")
	if _, err := cache.Load(t.Context(), "/p", policy(), returns(nil, down)); !errors.Is(err, down) {
		t.Errorf("without an answer: %v", err)
	}
	if _, err := cache.Load(t.Context(), "/p", policy(), returns(answerOf("kept"), nil)); err != nil {
		t.Fatal(err)
	}
	clk.Advance(time.Second)
	if got, err := cache.Load(t.Context(), "/p", policy(), returns(nil, down)); err != nil || got.Kind != Stale || string(got.Body) != "kept" || got.Age != time.Second {
		t.Errorf("while calls fail: %+v, %v", got, err)
	}
	if got, err := cache.Load(t.Context(), "/p", policy(), forbidden); err != nil || got.Kind != Stale {
		t.Errorf("right after a failure: %+v, %v", got, err)
	}
	clk.Advance(500 * time.Millisecond)
	failing := answerOf("problem")
	failing.Status = http.StatusServiceUnavailable
	if got, err := cache.Load(t.Context(), "/p", policy(), returns(failing, nil)); err != nil || got.Kind != Stale {
		t.Errorf("while the service answers 503: %+v, %v", got, err)
	}
	clk.Advance(500 * time.Millisecond)
	gone := answerOf("gone")
	gone.Status = http.StatusNotFound
	if got, err := cache.Load(t.Context(), "/p", policy(), returns(gone, nil)); err != nil || got.Status != 404 {
		t.Errorf("what is gone: %+v, %v", got, err)
	}
	if got, err := cache.Load(t.Context(), "/p", policy(), returns(nil, down)); !errors.Is(err, down) {
		t.Errorf("what was gone came back: %+v, %v", got, err)
	}
	if _, err := cache.Load(t.Context(), "/q", policy(), returns(answerOf("kept"), nil)); err != nil {
		t.Fatal(err)
	}
	clk.Advance(30 * time.Second)
	if got, err := cache.Load(t.Context(), "/q", policy(), returns(nil, down)); !errors.Is(err, down) {
		t.Errorf("after the time for errors: %+v, %v", got, err)
	}
}

// slow is a call that returns when it is let go.
type slow struct {
	began, end chan struct{}
	answer     *Answer
	err        error
}

func newSlow(a *Answer, err error) *slow {
	return &slow{began: make(chan struct{}), end: make(chan struct{}), answer: a, err: err}
}

func (s *slow) call(context.Context) (*Answer, error) {
	close(s.began)
	<-s.end
	return s.answer, s.err
}

type result struct {
	Found
	err error
}

func load(ctx context.Context, c *Cache, call Call) chan result {
	out := make(chan result, 1)
	go func() {
		found, err := c.Load(ctx, "/p", policy(), call)
		out <- result{found, err}
	}()
	return out
}

func TestEqualRequestsShareACall(t *testing.T) {
	problem := answerOf("problem of one request")
	problem.Status = http.StatusNotFound
	for name, c := range map[string]struct {
		answer *Answer
		err    error
		shared error // what the others get
	}{
		"an answer":             {answerOf("x"), nil, nil},
		"a failure":             {nil, context.DeadlineExceeded, context.DeadlineExceeded},
		"an answer for one":     {problem, nil, ErrUnshared},
		"an answer too long":    {nil, fmt.Errorf("too long: %w", ErrUnshared), ErrUnshared},
		"a panic of the handle": {nil, nil, ErrUnshared},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache := New(Settings{Entries: 10, Bytes: 1 << 20, Clock: clock.System{}})
				first := newSlow(c.answer, c.err)
				own := make(chan any, 1)
				go func() {
					defer func() { own <- recover() }()
					found, err := cache.Load(t.Context(), "/p", policy(), func(ctx context.Context) (*Answer, error) {
						if _, err := first.call(ctx); strings.HasPrefix(name, "a panic") {
							panic(err)
						}
						return first.answer, first.err
					})
					if !errors.Is(err, c.err) || err == nil && (found.Kind != Miss || found.Answer == nil) {
						t.Errorf("the request that called got %+v, %v", found, err)
					}
				}()
				<-first.began
				ctx, leave := context.WithCancel(t.Context())
				others := []chan result{load(t.Context(), cache, forbidden), load(t.Context(), cache, forbidden), load(ctx, cache, forbidden)}
				synctest.Wait()
				leave()
				if got := <-others[2]; !errors.Is(got.err, context.Canceled) {
					t.Errorf("a request that left got %+v", got)
				}
				close(first.end)
				for _, other := range others[:2] {
					if got := <-other; !errors.Is(got.err, c.shared) || got.err == nil && (got.Kind != Shared || got.Answer == nil) {
						t.Errorf("another request got %+v", got)
					}
				}
				<-own
				if len(cache.calls) != 0 {
					t.Error("the call is still there")
				}
			})
		})
	}
}

// While one request renews a stale answer, others get it at once. A call that takes long is not joined: another one begins.
func TestStaleWhileRevalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := New(Settings{Entries: 10, Bytes: 1 << 20, Clock: clock.System{}})
		if _, err := cache.Load(t.Context(), "/p", policy(), returns(answerOf("1"), nil)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(499 * time.Millisecond)
		if got, ok := cache.Get("/p"); !ok || got.Kind != Hit || got.Age != 499*time.Millisecond {
			t.Errorf("before it is stale: %+v, %v", got, ok)
		}
		time.Sleep(time.Millisecond)
		if got, ok := cache.Get("/p"); ok {
			t.Errorf("nobody renews it: %+v", got)
		}
		second := newSlow(answerOf("2"), nil)
		renewing := load(t.Context(), cache, second.call)
		<-second.began
		if got, ok := cache.Get("/p"); !ok || got.Kind != Stale || string(got.Body) != "1" {
			t.Errorf("while it is renewed: %+v, %v", got, ok)
		}
		time.Sleep(400 * time.Millisecond)
		waiting := load(t.Context(), cache, forbidden)
		synctest.Wait()
		time.Sleep(500 * time.Millisecond) // the call is 900 ms old
		third := newSlow(answerOf("3"), nil)
		younger := load(t.Context(), cache, third.call)
		<-third.began
		close(third.end)
		if got := <-younger; string(got.Body) != "3" {
			t.Errorf("the younger call returned %s", got.Body)
		}
		close(second.end)
		if got, own := <-waiting, <-renewing; string(got.Body) != "2" || got.Kind != Shared || string(own.Body) != "2" || own.Kind != Miss {
			t.Errorf("the older call returned %+v and %+v", got, own)
		}
		if got, ok := cache.Get("/p"); !ok || string(got.Body) != "3" {
			t.Errorf("an older answer took the place of a younger one: %+v, %v", got, ok)
		}
	})
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := New(Settings{Entries: 10, Bytes: 1 << 20, Clock: clock.System{}})
		before := newSlow(answerOf("before"), nil)
		own := load(t.Context(), cache, before.call)
		<-before.began
		cache.Forget("/p")
		if got, err := cache.Load(t.Context(), "/p", policy(), returns(answerOf("after"), nil)); err != nil || string(got.Body) != "after" {
			t.Errorf("a request after the change got %+v, %v", got, err)
		}
		close(before.end)
		if got := <-own; string(got.Body) != "before" {
			t.Errorf("the request before the change got %+v", got)
		}
		if got, ok := cache.Get("/p"); !ok || string(got.Body) != "after" {
			t.Errorf("kept is %+v, %v", got, ok)
		}
		cache.Forget("/p")
		if got, ok := cache.Get("/p"); ok {
			t.Errorf("kept is %+v", got)
		}
	})
}

// An answer cannot be fresh because the clock was set back.
func TestAClockThatIsSetBack(t *testing.T) {
	clk := clocktest.At(time.Unix(1e9, 0))
	cache := New(Settings{Entries: 10, Bytes: 1 << 20, Clock: clk})
	if _, err := cache.Load(t.Context(), "/p", policy(), returns(answerOf("x"), nil)); err != nil {
		t.Fatal(err)
	}
	clk.Advance(-time.Hour)
	if got, ok := cache.Get("/p"); ok {
		t.Errorf("got %+v", got)
	}
}
