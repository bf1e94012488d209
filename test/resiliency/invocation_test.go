package resiliency

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Limits of dapr/resources/resiliency-orders.yaml for the steps of the saga.
const (
	stepTimeout      = 2500 * time.Millisecond
	stepFailures     = 5 // failures in a row that open the breaker
	stepBreakerOpens = 5 * time.Second
)

// slack is the time that a busy machine may add to a measurement. It is too short to change any count.
const slack = 15 * time.Second

// TestACallIsAttemptedOnce shows that no sidecar repeats a call, whatever its result: a refusal is an answer, an
// overloaded service must not get more calls, and a call without an answer is repeated by the program, which knows what
// it means.
func TestACallIsAttemptedOnce(t *testing.T) {
	s := shared(t)
	for _, from := range []string{"orders", "gateway", "notifications"} {
		for what, answer := range map[string]http.HandlerFunc{
			"200": saying(200), "404": saying(404), "409": saying(409), "422": saying(422), "429": saying(429),
			"500": saying(500), "503": saying(503), "no answer": vanishing,
		} {
			t.Run(from+"/"+what, func(t *testing.T) {
				path := fresh("once")
				s.apps["payments"].answers(t, path, answer)
				got := s.call(t, from, "payments", path)
				if what == "no answer" {
					what = "500"
				}
				if fmt.Sprint(got.status) != what {
					t.Errorf("the caller got %d %s", got.status, got.body)
				}
				// A second attempt would follow within a second and a half.
				if n := len(s.apps["payments"].came(path)); n != 1 {
					t.Errorf("%d attempts for one call", n)
				}
			})
		}
	}
}

// TestAStepThatHangsIsGivenUp shows the timeout of a saga step, and that the step is not repeated either.
func TestAStepThatHangsIsGivenUp(t *testing.T) {
	s := shared(t)
	path, release := fresh("hang"), make(chan struct{})
	s.apps["payments"].answers(t, path, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	got := s.call(t, "orders", "payments", path)
	// gRPC says "context deadline exceeded", or has the code DeadlineExceeded if the answer of the other side to the end came first.
	if got.status != 500 || !strings.Contains(strings.ToLower(strings.ReplaceAll(got.body, " ", "")), "deadlineexceeded") {
		t.Errorf("the caller got %d %s", got.status, got.body)
	}
	if got.took < stepTimeout || got.took > stepTimeout+slack {
		t.Errorf("it was given up after %s; want %s", got.took, stepTimeout)
	}
	if n := len(s.apps["payments"].came(path)); n != 1 {
		t.Errorf("%d attempts for one call", n)
	}
}

// TestBreaker brings the breaker of one path into all its states.
func TestBreaker(t *testing.T) {
	s := shared(t)
	payments, path := s.apps["payments"], fresh("breaker")
	payments.answers(t, path, saying(503))
	var opened time.Time // not later than the breaker opens
	for n := range stepFailures {
		opened = time.Now()
		if got := s.call(t, "orders", "payments", path); got.status != 503 {
			t.Fatalf("call %d got %d %s", n+1, got.status, got.body)
		}
	}

	// Open: no call reaches the service, and the caller gets the refusal immediately.
	slow := false // on a slow machine the breaker may already let a probe through
	for range 20 {
		got := s.call(t, "orders", "payments", path)
		if slow = time.Since(opened) > stepBreakerOpens-time.Second; slow {
			break
		}
		if got.status != 500 || !strings.Contains(got.body, "circuit breaker is open") {
			t.Fatalf("with the breaker open the caller got %d %s", got.status, got.body)
		}
		if got.took >= stepTimeout {
			t.Errorf("a refusal took %s", got.took)
		}
	}
	if n := len(payments.came(path)); !slow && n != stepFailures {
		t.Errorf("%d calls came to a service behind an open breaker", n-stepFailures)
	}
	// The breakers of another path and of another caller are not affected.
	other := fresh("breaker")
	payments.answers(t, other, saying(200))
	if got := s.call(t, "orders", "payments", other); got.status != 200 {
		t.Errorf("another path got %d %s", got.status, got.body)
	}
	if got := s.call(t, "products", "payments", path); got.status != 503 {
		t.Errorf("another caller got %d %s", got.status, got.body)
	}

	// Half-open: one probe, while all others are still refused. It fails, and the breaker opens again.
	held := holding(503)
	payments.answers(t, path, held.answer)
	probe := s.probe(t, path, held)
	for range 8 {
		got := s.call(t, "orders", "payments", path)
		if got.status != 500 || !strings.Contains(got.body, "too many requests") && !strings.Contains(got.body, "circuit breaker is open") {
			t.Errorf("beside the probe the caller got %d %s", got.status, got.body)
		}
	}
	close(held.release)
	if got := <-probe; got.status != 503 && !strings.Contains(got.body, "deadline exceeded") {
		t.Errorf("the probe got %d %s", got.status, got.body)
	}
	if n := len(payments.came(path)); n != 1 {
		t.Errorf("%d calls came to the service while one probe was under way", n)
	}
	if got := s.call(t, "orders", "payments", path); !strings.Contains(got.body, "circuit breaker is open") {
		t.Errorf("after a probe that failed the caller got %d %s", got.status, got.body)
	}

	// A probe that succeeds closes it.
	payments.answers(t, path, saying(200))
	eventually(t, "the breaker to close", func() bool { return s.call(t, "orders", "payments", path).status == 200 })
	if waited := time.Since(opened); waited < 2*stepBreakerOpens {
		t.Errorf("it closed after %s; it opens twice for %s", waited, stepBreakerOpens)
	}
	for range 10 {
		if got := s.call(t, "orders", "payments", path); got.status != 200 {
			t.Errorf("with the breaker closed the caller got %d %s", got.status, got.body)
		}
	}
}

// heldAnswer is sent when it is released.
type heldAnswer struct {
	status  int
	began   chan struct{}
	release chan struct{}
	once    sync.Once
}

func holding(status int) *heldAnswer {
	return &heldAnswer{status: status, began: make(chan struct{}), release: make(chan struct{})}
}

func (h *heldAnswer) answer(w http.ResponseWriter, r *http.Request) {
	h.once.Do(func() { close(h.began) })
	select {
	case <-h.release:
	case <-r.Context().Done():
	}
	saying(h.status)(w, r)
}

// probe calls until the breaker lets a call through. It returns when that call has reached the service; the answer
// follows.
func (s *stack) probe(t *testing.T, path string, held *heldAnswer) <-chan reply {
	t.Helper()
	answers := make(chan reply, 1)
	deadline := time.Now().Add(waitLimit)
	for time.Now().Before(deadline) {
		got := make(chan reply, 1)
		go func() { got <- s.call(t, "orders", "payments", path) }()
		select {
		case <-held.began:
			go func() { answers <- <-got }()
			return answers
		case <-got:
			time.Sleep(20 * time.Millisecond)
		}
	}
	t.Fatal("the breaker let nothing through")
	return nil
}

// maxAmplification is the maximum number of calls that reach an overloaded service for each call of its callers (Google
// SRE, handling overload: retries are at most a tenth of the calls).
const maxAmplification = 1.1

// TestOverloadBringsNoMoreTraffic sends more calls than a service can handle, and counts those that reach it.
func TestOverloadBringsNoMoreTraffic(t *testing.T) {
	s := shared(t)
	for what, answer := range map[string]func() http.HandlerFunc{
		"it sheds what it has no place for": shedding,
		"it sheds every third":              func() http.HandlerFunc { return everyThird(saying(503)) },
		"it fails every third":              func() http.HandlerFunc { return everyThird(saying(500)) },
		"it loses every third":              func() http.HandlerFunc { return everyThird(vanishing) },
		"every third is late":               func() http.HandlerFunc { return everyThird(late) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			path := fresh("overload")
			s.apps["products"].answers(t, path, answer())
			const callers, each = 12, 10
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					for range each {
						s.call(t, "orders", "products", path)
					}
				})
			}
			all.Wait()
			came, offered := len(s.apps["products"].came(path)), callers*each
			amplification := float64(came) / float64(offered)
			t.Logf("%d calls offered, %d came: %.2f", offered, came, amplification)
			if amplification > maxAmplification {
				t.Errorf("%.2f calls came for each that was offered; want at most %.2f", amplification, maxAmplification)
			}
			if came == 0 {
				t.Error("nothing came: the test measures nothing")
			}
		})
	}
}

// shedding has four places and answers 503 when none is free.
func shedding() http.HandlerFunc {
	places := make(chan struct{}, 4)
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			time.Sleep(50 * time.Millisecond)
			saying(200)(w, r)
		default:
			saying(503)(w, r)
		}
	}
}

// everyThird fails every third request. These are too few in a row to open a breaker, so all repeats would be visible.
func everyThird(badly http.HandlerFunc) http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%3 == 0 {
			badly(w, r)
			return
		}
		saying(200)(w, r)
	}
}

// late answers after the caller's sidecar has timed out.
func late(w http.ResponseWriter, r *http.Request) {
	select {
	case <-time.After(stepTimeout + time.Second):
		saying(200)(w, r)
	case <-r.Context().Done():
	}
}
