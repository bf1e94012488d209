package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/internal/clock/clocktest"
	users "caravan/services/users/contract"
)

// shownAs is the Cache-Control of products; readAge is how old its answers may be (catalogue.read_age).
const (
	shownAs = "public, max-age=1, stale-if-error=30"
	readAge = time.Second
)

// catalogue is a fake products service that counts its calls.
type catalogue struct {
	calls   atomic.Int64
	version atomic.Int64
	headers sync.Map // more headers of its answers
}

func (c *catalogue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/readyz" || strings.HasSuffix(r.URL.Path, "NONE") || r.Method != http.MethodGet {
		if r.Method == http.MethodPatch {
			c.version.Add(1)
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{}`)
			return
		}
		answerShape(w, r)
		return
	}
	c.calls.Add(1)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", shownAs)
	c.headers.Range(func(name, value any) bool { w.Header().Set(name.(string), value.(string)); return true })
	size := 0
	if strings.HasSuffix(r.URL.Path, "LARGE") {
		size = 65 << 10
	}
	_, _ = fmt.Fprintf(w, `{"path":%q,"query":%q,"version":%d,"text":"%s"}`, r.URL.Path, r.URL.RawQuery, c.version.Load(), strings.Repeat("x", size))
}

// newShop is a gateway in front of the fake products service. Its clock stands still.
func newShop(t *testing.T, cfg settings) (*stage, *catalogue, *clocktest.Clock) {
	t.Helper()
	clk, shop := clocktest.At(time.Now()), new(catalogue)
	s := newStageAt(t, cfg, clk)
	s.sidecar.Handle("products", shop.ServeHTTP)
	return s, shop, clk
}

// The catalogue's answers are renewed early enough: what a reader gets was in the store less than two seconds before.
func TestCatalogueIsAtMostTwoSecondsOld(t *testing.T) {
	table, err := loadRoutes("")
	if err != nil {
		t.Fatal(err)
	}
	cached := 0
	for _, r := range table.Routes() {
		if r.Cache == nil {
			continue
		}
		cached++
		if old := readAge + r.Cache.Fresh + r.Cache.Stale; old >= 2*time.Second || r.App != "products" {
			t.Errorf("%s may be %s old", r.Name, old)
		}
	}
	if cached != 2 {
		t.Errorf("%d routes have a cache", cached)
	}
}

func TestCachedAnswers(t *testing.T) {
	s, shop, _ := newShop(t, testSettings())
	const path = "/v1/products/CUP-1"
	first := s.do("GET", path, "", "")
	tag := first.Header.Get("Etag")
	if first.StatusCode != 200 || tag == "" || first.Header.Get("Age") != "" || first.Header.Get("Cache-Control") != "public, max-age=0, stale-if-error=30" {
		t.Fatalf("got %d %v", first.StatusCode, first.Header)
	}
	second := s.do("GET", path, "", "")
	if string(second.body) != string(first.body) || second.Header.Get("Age") != "0" || second.Header.Get("Etag") != tag || second.Header.Get("Content-Type") != "application/json" ||
		second.Header.Get("Content-Length") != fmt.Sprint(len(first.body)) {
		t.Errorf("got %s %v; first %s", second.body, second.Header, first.body)
	}
	for _, name := range []string{"X-Correlation-Id", "Traceparent", "Ratelimit"} {
		if second.Header.Get(name) == "" || second.Header.Get(name) == first.Header.Get(name) {
			t.Errorf("%s is %q for both", name, second.Header.Get(name))
		}
	}
	if second.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", second.Header)
	}
	same := s.do("GET", path, "", "", "If-None-Match", `"other", W/`+tag)
	if same.StatusCode != 304 || len(same.body) != 0 || same.Header.Get("Etag") != tag || same.Header.Get("Content-Type") != "" || same.Header.Get("Cache-Control") == "no-store" {
		t.Errorf("got %d %q %v", same.StatusCode, same.body, same.Header)
	}
	if other := s.do("GET", path, "", "", "If-None-Match", `"other"`); other.StatusCode != 200 {
		t.Errorf("another tag got %d", other.StatusCode)
	}
	if head := s.do("HEAD", path, "", ""); head.StatusCode != 200 || len(head.body) != 0 || head.Header.Get("Content-Length") != fmt.Sprint(len(first.body)) {
		t.Errorf("HEAD got %d %v", head.StatusCode, head.Header)
	}
	s.do("GET", "/v1/products?q=tea&limit=5", "", "")
	s.do("GET", "/v1/products?limit=5&q=tea", "", "")
	if n := shop.calls.Load(); n != 2 {
		t.Errorf("products was called %d times", n)
	}
	for _, r := range s.sidecar.Requests() {
		if r.Header.Get("If-None-Match") != "" || r.Header.Get("Accept") != "" {
			t.Errorf("%s: products received headers of one reader: %v", r.Path, r.Header)
		}
	}
}

// Requests with credentials are neither answered from the cache nor fill it.
func TestWhatBypassesTheCache(t *testing.T) {
	s, shop, _ := newShop(t, testSettings())
	const path = "/v1/products/CUP-1"
	s.do("GET", path, "", "")
	customer := s.tokenOf(users.RoleCustomer)
	for name, headers := range map[string][]string{"a cookie": {"Cookie", "a=b"}, "no-cache": {"Cache-Control", "no-cache"}, "no-store": {"Cache-Control", "no-store"}} {
		before := shop.calls.Load()
		got := s.do("GET", path, "", "", headers...)
		if got.StatusCode != 200 || shop.calls.Load() != before+1 || got.Header.Get("Etag") != "" || got.Header.Get("Cache-Control") != shownAs {
			t.Errorf("%s: %d, %d calls, %v", name, got.StatusCode, shop.calls.Load()-before, got.Header)
		}
	}
	before := shop.calls.Load()
	for range 2 {
		if got := s.do("GET", path, customer, ""); got.StatusCode != 200 || got.Header.Get("Etag") != "" {
			t.Errorf("a customer got %d %v", got.StatusCode, got.Header)
		}
		if got := s.do("GET", path, "nonsense", ""); got.StatusCode != 401 {
			t.Errorf("a bad token got %d", got.StatusCode)
		}
		s.do("GET", "/v1/products", customer, "") // a public route, which reads no token
		s.do("GET", "/v1/products/LARGE", "", "")
		s.do("GET", path+"?q="+strings.Repeat("a", 1100), "", "")
	}
	// The call that finds an answer too large is followed by one that passes it on.
	if n := shop.calls.Load() - before; n != 10 {
		t.Errorf("products was called %d times", n)
	}
	if got := s.do("GET", "/v1/products/LARGE", "", ""); got.StatusCode != 200 || len(got.body) < 65<<10 {
		t.Errorf("a large answer: %d, %d bytes", got.StatusCode, len(got.body))
	}
}

func TestWhatIsNotKept(t *testing.T) {
	for name, value := range map[string]string{"Set-Cookie": "session=1", "Vary": "Accept-Language", "Cache-Control": "private, no-store"} {
		s, shop, _ := newShop(t, testSettings())
		shop.headers.Store(name, value)
		for range 2 {
			if got := s.do("GET", "/v1/products/CUP-1", "", ""); got.StatusCode != 200 || got.Header.Get("Etag") != "" || got.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s: got %d %v", name, got.StatusCode, got.Header)
			}
		}
		if n := shop.calls.Load(); n != 2 {
			t.Errorf("%s: products was called %d times", name, n)
		}
	}
	s, _, _ := newShop(t, testSettings())
	first, second := s.do("GET", "/v1/products/NONE", "", ""), s.do("GET", "/v1/products/NONE", "", "")
	if first.StatusCode != 422 || first.problem(t).CorrelationID == second.problem(t).CorrelationID || len(s.sidecar.Requests()) != 2 {
		t.Errorf("an error was kept: %s %s", first.body, second.body)
	}
}

// A change through the gateway is visible at once, one elsewhere when the answer is not fresh any more.
func TestChangesBecomeVisible(t *testing.T) {
	s, shop, clk := newShop(t, testSettings())
	const path = "/v1/products/CUP-1"
	expect := func(when string, version int) {
		t.Helper()
		if got := s.do("GET", path, "", ""); !strings.Contains(string(got.body), fmt.Sprintf(`"version":%d`, version)) {
			t.Errorf("%s: got %d %s; want version %d", when, got.StatusCode, got.body, version)
		}
	}
	expect("at first", 0)
	if got := s.do("PATCH", path, s.tokenOf(users.RoleAdmin), `{}`); got.StatusCode != 200 {
		t.Fatalf("a change got %d %s", got.StatusCode, got.body)
	}
	expect("after a change through the gateway", 1)
	shop.version.Add(1)
	expect("right after a change elsewhere", 1)
	clk.Advance(500 * time.Millisecond)
	expect("after half a second", 2)
}

func TestStaleIfError(t *testing.T) {
	s, _, clk := newShop(t, testSettings())
	first := s.do("GET", "/v1/products/CUP-1", "", "")
	s.sidecar.Handle("products", nil)
	for i := 1; i <= 10; i++ {
		clk.Advance(499 * time.Millisecond)
		for range 3 {
			got := s.do("GET", "/v1/products/CUP-1", "", "")
			if got.StatusCode != 200 || string(got.body) != string(first.body) || got.Header.Get("Age") != fmt.Sprint(i*499/1000) {
				t.Errorf("%d: got %d %s, Age %s", i, got.StatusCode, got.body, got.Header.Get("Age"))
			}
		}
	}
	// Fresh for one step; then a call at every second step, until the breaker opens.
	if n := len(s.sidecar.Requests()); n < 3 || n > 6 {
		t.Errorf("products was called %d times", n)
	}
	missing := s.do("GET", "/v1/products/CUP-2", "", "")
	if missing.problem(t); missing.StatusCode != 503 {
		t.Errorf("what is not kept: %d", missing.StatusCode)
	}
	clk.Advance(30 * time.Second)
	if got := s.do("GET", "/v1/products/CUP-1", "", ""); got.StatusCode != 503 {
		t.Errorf("after half a minute: %d", got.StatusCode)
	}
}

// Many readers of one product at once are one call.
func TestReadersShareACall(t *testing.T) {
	s, shop, _ := newShop(t, testSettings())
	open := make(chan struct{})
	s.sidecar.Handle("products", func(w http.ResponseWriter, r *http.Request) { <-open; shop.ServeHTTP(w, r) })
	var readers, asked sync.WaitGroup
	for range 50 {
		asked.Add(1)
		readers.Go(func() {
			asked.Done()
			if got := s.do("GET", "/v1/products/CUP-1", "", ""); got.StatusCode != 200 {
				t.Errorf("got %d %s", got.StatusCode, got.body)
			}
		})
	}
	asked.Wait()
	close(open)
	readers.Wait()
	if n := shop.calls.Load(); n != 1 {
		t.Errorf("products was called %d times", n)
	}
	kinds := s.cacheKinds(t)
	if kinds["miss"] != 1 || kinds["shared"]+kinds["hit"] != 49 {
		t.Errorf("the log has %v", kinds)
	}
}

// cacheKinds counts the lines of the access log by their attribute cache.
func (s *stage) cacheKinds(t *testing.T) map[string]int {
	t.Helper()
	kinds := make(map[string]int)
	for line := range strings.Lines(s.log.String()) {
		var fields struct{ Msg, Cache string }
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		if fields.Msg == "request" {
			kinds[fields.Cache]++
		}
	}
	return kinds
}

// Answers from the cache count against the limit of the caller, and are logged.
func TestCachedAnswersAreCountedAndLogged(t *testing.T) {
	cfg := testSettings()
	cfg.Limit.Scale, cfg.Limit.Public = 1, 5
	s, _, _ := newShop(t, cfg)
	for i := range 6 {
		want := 200
		if i == 5 {
			want = 429
		}
		if got := s.do("GET", "/v1/products", "", ""); got.StatusCode != want || got.Header.Get("Ratelimit") == "" {
			t.Errorf("request %d got %d", i, got.StatusCode)
		}
	}
	if kinds := s.cacheKinds(t); kinds["miss"] < 1 || kinds["miss"]+kinds["hit"] != 5 || kinds[""] != 1 {
		t.Errorf("the log has %v", kinds)
	}
}

func TestWithoutACache(t *testing.T) {
	cfg := testSettings()
	cfg.Cache.Enabled = false
	s, shop, _ := newShop(t, cfg)
	for range 2 {
		if got := s.do("GET", "/v1/products", "", ""); got.StatusCode != 200 || got.Header.Get("Cache-Control") != shownAs {
			t.Errorf("got %d %v", got.StatusCode, got.Header)
		}
	}
	if shop.calls.Load() != 2 {
		t.Error("an answer was kept")
	}
	if got := s.do("PATCH", "/v1/products/CUP-1", s.tokenOf(users.RoleAdmin), `{}`); got.StatusCode != 200 {
		t.Errorf("a change got %d", got.StatusCode)
	}
}
