package route

import (
	"errors"
	"net/http"
	"os"
	"path"
	"strings"
	"testing"
	"time"
)

func shipped(t testing.TB) *Table {
	t.Helper()
	source, err := os.ReadFile("../routes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table, err := Parse(source, Known{})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestEveryShippedRouteMatchesItself(t *testing.T) {
	table := shipped(t)
	for _, r := range table.Routes() {
		filled := strings.NewReplacer("{id}", "0198c0de-0000-7000-8000-000000000001", "{sku}", "TEA-001").Replace(r.Pattern)
		m, err := table.Match(r.Method, filled)
		if err != nil || m.Route != r {
			t.Errorf("%s %s matched %v, %v", r.Method, filled, m.Route, err)
			continue
		}
		if got := m.Target(""); got != filled {
			t.Errorf("%s is forwarded as %s, want %s", r.Name, got, filled)
		}
	}
}

func TestMatch(t *testing.T) {
	table := shipped(t)
	for _, tc := range []struct {
		method, path string
		want, value  string
		allow        string
	}{
		{method: "GET", path: "/v1/users/me", want: "GET /v1/users/me"},
		{method: "HEAD", path: "/v1/users/me", want: "GET /v1/users/me"},
		{method: "PUT", path: "/v1/users/me/roles", want: "PUT /v1/users/{id}/roles", value: "me"},
		{method: "GET", path: "/v1/orders/o-1", want: "GET /v1/orders/{id}", value: "o-1"},
		{method: "GET", path: "/v1/sessions", allow: "POST"},
		{method: "TRACE", path: "/v1/products", allow: "GET, HEAD, POST"},
		{method: "OPTIONS", path: "/v1/users/me", allow: "GET, HEAD, PATCH"},
		{method: "get", path: "/v1/wallet", allow: "GET, HEAD"},
		{method: "GET", path: "/"},
		{method: "GET", path: "/v1"},
		{method: "GET", path: "/V1/products"},
		{method: "GET", path: "/v1/products/"},
		{method: "GET", path: "/v1/orders/"},
		{method: "GET", path: "/v1/orders/-x"},
		{method: "GET", path: "/v1/orders/..."},
		{method: "GET", path: "/v1/orders/a;b"},
		{method: "GET", path: "/v1/orders/a%41"},
		{method: "GET", path: "/v1/%75sers/me"},
		{method: "GET", path: "/v1/orders/" + strings.Repeat("x", maxParamBytes+1)},
		{method: "GET", path: "/internal/audit"},
		{method: "GET", path: "/events/orders"},
		{method: "GET", path: "/v1.0/state/store"},
		{method: "GET", path: "/metrics"},
		{method: "GET", path: "/dapr/subscribe"},
	} {
		m, err := table.Match(tc.method, tc.path)
		var refused *MethodError
		switch {
		case tc.want != "":
			if err != nil || m.Route.Name != tc.want || m.Value(0) != tc.value {
				t.Errorf("%s %s: got %v %q %v, want %s %q", tc.method, tc.path, m.Route, m.Value(0), err, tc.want, tc.value)
			}
		case tc.allow != "":
			if !errors.As(err, &refused) || refused.Allow != tc.allow {
				t.Errorf("%s %s: got %v, want Allow: %s", tc.method, tc.path, err, tc.allow)
			}
		case !errors.Is(err, ErrNotFound):
			t.Errorf("%s %s: got %v %v, want not found", tc.method, tc.path, m.Route, err)
		}
	}
}

func TestSplitTargetRefuses(t *testing.T) {
	for _, target := range []string{
		"", "*", "v1/products", "http://evil.example/v1/products", "evil.example:443", "//evil.example/v1/products",
		"/v1//products", "/v1/products//", "//", "/./v1", "/v1/.", "/v1/..", "/v1/../internal/audit", "/..", "/.",
		"/v1/%2e%2e/internal", "/v1/%2E", "/v1/%2e%2E%2fstate", "/v1%2fproducts", "/v1%2Fproducts", "/v1/%5cproducts",
		`/v1\products`, "/v1/%00", "/v1/%0d%0a", "/v1/%7f", "/v1/%25%32%65", "/v1/%252e", "/v1/%3f", "/v1/%23", "/v1/%3b",
		"/v1/%", "/v1/%4", "/v1/%zz", "/v1/%c0%ae", "/v1/%ef%bc%8e", "/v1/．．/x", "/v1/pro ducts", "/v1/\x00", "/v1/\x1f",
		"/v1/\x7f", "/v1/\xff", "/v1/products#x", "/v1/<script>", "/v1/{sku}", "/v1/a|b", "/v1/a^b", "/v1/a`b", `/v1/a"b`,
		"/v1/products?q=\x00", "/v1/products?q=%00", "/v1/products?q=%", "/v1/products?q=%g1", "/v1/products?q=a b",
		"/v1/products?q=#", "/v1/products?q=a;b", "/v1/products?;", `/v1/products?q=\`, "/v1/products?q=é",
		"/" + strings.Repeat("a", maxPathBytes), "/v1?" + strings.Repeat("a", maxQueryBytes+1),
	} {
		var refused *TargetError
		if p, q, err := SplitTarget(target); !errors.As(err, &refused) {
			t.Errorf("%q was accepted as %q and %q (%v)", target, p, q, err)
		}
	}
}

func TestSplitTargetAccepts(t *testing.T) {
	for _, tc := range []struct{ target, path, query string }{
		{"/", "/", ""},
		{"/v1/products", "/v1/products", ""},
		{"/v1/products/", "/v1/products/", ""},
		{"/v1/products?", "/v1/products", ""},
		{"/v1/products?q=green+tea&limit=5", "/v1/products", "q=green+tea&limit=5"},
		{"/v1/products?q=%C3%A9&next=/../x?y//", "/v1/products", "q=%C3%A9&next=/../x?y//"},
		{"/.well-known/jwks.json", "/.well-known/jwks.json", ""},
		{"/v1/products/a%41", "/v1/products/a%41", ""},
	} {
		p, q, err := SplitTarget(tc.target)
		if err != nil || p != tc.path || q != tc.query {
			t.Errorf("%q: got %q, %q, %v", tc.target, p, q, err)
		}
	}
}

// Whatever a client writes, the path that a service gets is one of the table's shapes, is clean, has nothing to decode,
// and is byte for byte the path that was checked.
func FuzzMatch(f *testing.F) {
	for _, seed := range []string{
		"/v1/orders/1", "/v1/orders/../x", "/v1/orders/%2e%2e", "//v1/orders", "/v1/users/me/roles", "/v1/orders/a;b/cancel",
		"/v1/orders/a%2fb", "/v1.0/state", "http://x/v1/orders", "/v1/products?x=/..", "*", "",
	} {
		f.Add("GET", seed)
		f.Add("POST", seed)
	}
	table := shipped(f)
	f.Fuzz(func(t *testing.T, method, target string) {
		p, _, err := SplitTarget(target)
		if err != nil {
			return
		}
		m, err := table.Match(method, p)
		if err != nil {
			return
		}
		const prefix = "/v1.0/invoke/app/method"
		got := m.Target(prefix)
		if got != prefix+p {
			t.Fatalf("%q is forwarded as %q", target, got)
		}
		if path.Clean(got) != got || strings.ContainsAny(got, "%?#;\\ ") {
			t.Fatalf("%q is forwarded as %q, which is not plain", target, got)
		}
		if method != m.Route.Method && method != "HEAD" {
			t.Fatalf("%s matched %s", method, m.Route.Name)
		}
	})
}

func TestParseRefuses(t *testing.T) {
	const good = "apps: [orders, users]\nroutes:\n  - { method: GET, path: /v1/a, app: orders, access: public }\n"
	if _, err := Parse([]byte(good), Known{Rates: []string{"public"}, Permissions: []string{"ops:read"}}); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ line, want string }{
		"unknown key":            {"{ method: GET, path: /b, app: orders, access: public, color: red }", `unknown key "color"`},
		"repeated key":           {"{ method: GET, method: GET, path: /b, app: orders, access: public }", "method"},
		"not a mapping":          {"GET /b", "must be a mapping"},
		"unknown method":         {"{ method: FETCH, path: /b, app: orders, access: public }", `unknown method "FETCH"`},
		"no method":              {"{ path: /b, app: orders, access: public }", "needs a method"},
		"unknown app":            {"{ method: GET, path: /b, app: billing, access: public }", `unknown app "billing"`},
		"no app":                 {"{ method: GET, path: /b, access: public }", "needs a app"},
		"no access":              {"{ method: GET, path: /b, app: orders }", "needs an access"},
		"unknown access":         {"{ method: GET, path: /b, app: orders, access: everyone }", `unknown access "everyone"`},
		"no permission":          {"{ method: GET, path: /b, app: orders, access: [] }", "unknown access"},
		"malformed permission":   {"{ method: GET, path: /b, app: orders, access: [refund] }", `"refund" is not a permission`},
		"unknown permission":     {"{ method: GET, path: /b, app: orders, access: ['ops:dance'] }", `unknown permission "ops:dance"`},
		"repeated permission":    {"{ method: GET, path: /b, app: orders, access: ['ops:read', 'ops:read'] }", "appears twice"},
		"unknown rate":           {"{ method: GET, path: /b, app: orders, access: public, rate: slow }", `unknown rate class "slow"`},
		"duplicate":              {"{ method: GET, path: /v1/a, app: users, access: public }", "declared twice, first on line 3"},
		"duplicate by shape":     {"{ method: GET, path: '/b/{x}', app: users, access: public }\n  - { method: PUT, path: '/b/{y}', app: users, access: public }", "{y} conflicts with {x} on line 4"},
		"relative path":          {"{ method: GET, path: b, app: orders, access: public }", "not a plain absolute path"},
		"trailing slash":         {"{ method: GET, path: /b/, app: orders, access: public }", "not a plain absolute path"},
		"dot segment":            {"{ method: GET, path: /b/../c, app: orders, access: public }", "not a plain absolute path"},
		"escape":                 {"{ method: GET, path: /b%41, app: orders, access: public }", "not a plain absolute path"},
		"query":                  {"{ method: GET, path: '/b?c=d', app: orders, access: public }", "not a plain absolute path"},
		"no path":                {"{ method: GET, app: orders, access: public }", "needs a path"},
		"internal path":          {"{ method: POST, path: /internal/feed, app: orders, access: public }", "belongs to the inside"},
		"event path":             {"{ method: POST, path: /events/orders, app: orders, access: public }", "belongs to the inside"},
		"sidecar path":           {"{ method: GET, path: /v1.0/state, app: orders, access: public }", "belongs to the inside"},
		"partial parameter":      {"{ method: GET, path: '/b/x{id}', app: orders, access: public }", "whole segment"},
		"open parameter":         {"{ method: GET, path: '/b/{id', app: orders, access: public }", "bad or repeated parameter"},
		"repeated parameter":     {"{ method: GET, path: '/b/{id}/{id}', app: orders, access: public }", "bad or repeated parameter"},
		"too many parameters":    {"{ method: GET, path: '/{a}/{b}/{c}/{d}/{e}', app: orders, access: public }", "more than 4 parameters"},
		"retry of a write":       {"{ method: POST, path: /b, app: orders, access: public, retry: safe }", "only GET is safe"},
		"retry of a keyed read":  {"{ method: GET, path: /b, app: orders, access: public, retry: keyed }", "needs no key"},
		"retry of another value": {"{ method: GET, path: /b, app: orders, access: public, retry: 3 }", "retry must be safe or keyed"},
		"bad timeout":            {"{ method: GET, path: /b, app: orders, access: public, timeout: 5 }", "duration"},
		"endless timeout":        {"{ method: GET, path: /b, app: orders, access: public, timeout: 3h }", "duration"},
		"bad body":               {"{ method: POST, path: /b, app: orders, access: public, body: 1TB }", "body"},
		"body of a GET":          {"{ method: GET, path: /b, app: orders, access: public, body: 1KiB }", "body"},
		"long without parameter": {"{ method: GET, path: /b, app: orders, access: public, long: { max: 3s } }", "long needs"},
		"stream of a write":      {"{ method: POST, path: /b, app: orders, access: public, stream: true }", "stream must be"},
		"stream of the gateway":  {"{ method: GET, path: /b, app: gateway, access: public, stream: true }", "stream must be"},
		"long stream":            {"{ method: GET, path: /b, app: orders, access: public, stream: true, long: { parameter: wait, max: 3s } }", "stream must be"},
		"stream that is not":     {"{ method: GET, path: /b, app: orders, access: public, stream: no }", "stream must be"},
		"cache of a write":       {"{ method: POST, path: /b, app: orders, access: public, cache: { fresh: 1s, control: public } }", "cache is for a GET"},
		"cache with a token":     {"{ method: GET, path: /b, app: orders, access: signedIn, cache: { fresh: 1s, control: public } }", "cache is for a GET"},
		"cache of a stream":      {"{ method: GET, path: /b, app: orders, access: public, stream: true, cache: { fresh: 1s, control: public } }", "cache is for a GET"},
		"cache without times":    {"{ method: GET, path: /b, app: orders, access: public, cache: { control: public } }", "cache needs"},
		"cache that is too old":  {"{ method: GET, path: /b, app: orders, access: public, cache: { fresh: 59s, stale: 2s, control: public } }", "at most 1m0s together"},
		"cache with short error": {"{ method: GET, path: /b, app: orders, access: public, cache: { fresh: 5s, stale: 2s, error: 6s, control: public } }", "error not less"},
		"cache that is private":  {"{ method: GET, path: /b, app: orders, access: public, cache: { fresh: 1s, control: private } }", "must be a Cache-Control"},
		"cache without control":  {"{ method: GET, path: /b, app: orders, access: public, cache: { fresh: 1s, control: '' } }", "must be a Cache-Control"},
		"cache of another kind":  {"{ method: GET, path: /b, app: orders, access: public, cache: { fresh: 1s, control: max-age=x } }", "must be a Cache-Control"},
		"long write":             {"{ method: POST, path: /b, app: orders, access: public, long: { parameter: wait, max: 3s } }", "held open"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(good+"  - "+tc.line+"\n"), Known{Rates: []string{"public"}, Permissions: []string{"ops:read"}})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "line ") {
				t.Errorf("got %v, want a refusal with a line that says %s", err, tc.want)
			}
		})
	}
	for name, source := range map[string]string{
		"empty": "", "no apps": "routes: []", "no routes": "apps: [a]", "unknown top": "apps: [a]\nroutes: []\nx: 1", "not yaml": "a: [",
		"gateway as an app": "apps: [gateway]\nroutes:\n  - { method: GET, path: /a, app: gateway, access: public }",
		"scalar":            "hello",
	} {
		if _, err := Parse([]byte(source), Known{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestParseReadsEverySetting(t *testing.T) {
	table, err := Parse([]byte(`apps: [orders]
routes:
  - { method: PUT, path: /a, app: orders, access: ["ops:read", "ops:write"], rate: slow, body: 2KiB, timeout: 3s }
  - { method: GET, path: "/a/{id}", app: gateway, access: signedIn, retry: safe, long: { parameter: wait, max: 20s } }
  - { method: GET, path: /s, app: orders, access: signedIn, stream: true }
`), Known{})
	if err != nil {
		t.Fatal(err)
	}
	put, get := table.Routes()[0], table.Routes()[1]
	if put.Access.Kind != Permitted || len(put.Access.Permissions) != 2 || put.Rate != "slow" || put.Body != 2048 || put.Timeout != 3*time.Second {
		t.Errorf("got %+v", put)
	}
	if get.Access.Kind != SignedIn || get.Rate != SignedInRate || get.Body != 0 || get.Timeout != defaultTimeout || get.Retry != RetrySafe ||
		get.Long.Parameter != "wait" || get.Long.Max != 20*time.Second || get.Params()[0] != "id" {
		t.Errorf("got %+v", get)
	}
	if stream := table.Routes()[2]; !stream.Stream || get.Stream || stream.Timeout != defaultTimeout {
		t.Errorf("got %+v", stream)
	}
}

func TestLongPollsGetTheTimeTheyAskFor(t *testing.T) {
	r := &Route{Timeout: 10 * time.Second, Long: &Long{Parameter: "wait", Max: 30 * time.Second}}
	for query, want := range map[string]time.Duration{
		"": 10 * time.Second, "wait=5s": 15 * time.Second, "wait=30s": 40 * time.Second, "wait=31s": 10 * time.Second, "wait=1h": 10 * time.Second, "wait=-1s": 10 * time.Second, "wait=0s": 10 * time.Second,
		"wait=x": 10 * time.Second, "await=5s": 10 * time.Second, "x=1&wait=500ms": 10500 * time.Millisecond, "wait=5s;": 10 * time.Second, "w%61it=5s": 15 * time.Second,
	} {
		if got, held := r.TimeoutOf(query, nil); got != want || held != (want > r.Timeout) {
			t.Errorf("%s: got %s, %v, want %s", query, got, held, want)
		}
	}
	for prefer, want := range map[string]time.Duration{"wait=5": 15 * time.Second, "wait=60": 40 * time.Second, "wait=0": 10 * time.Second, "x": 10 * time.Second} {
		if got, held := r.TimeoutOf("", http.Header{"Prefer": {prefer}}); got != want || held != (want > r.Timeout) {
			t.Errorf("Prefer: %s: got %s, %v, want %s", prefer, got, held, want)
		}
	}
	if got, _ := r.TimeoutOf("wait=1s", http.Header{"Prefer": {"wait=5"}}); got != 11*time.Second {
		t.Errorf("a parameter and a preference: got %s", got)
	}
	if got, held := (&Route{Timeout: time.Second}).TimeoutOf("wait=5s", http.Header{"Prefer": {"wait=5"}}); got != time.Second || held {
		t.Errorf("a route that does not wait: got %s, %v", got, held)
	}
}

func BenchmarkMatch(b *testing.B) {
	table := shipped(b)
	b.ReportAllocs()
	for b.Loop() {
		p, _, err := SplitTarget("/v1/orders/0198c0de-0000-7000-8000-000000000001/cancel?x=y")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := table.Match("POST", p); err != nil {
			b.Fatal(err)
		}
	}
}
