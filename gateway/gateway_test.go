package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"caravan/gateway/proxy"
	"caravan/gateway/proxy/proxytest"
	"caravan/gateway/route"
	"caravan/gateway/spec"
	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/id"
	"caravan/internal/problem"
	"caravan/internal/telemetry"
	"caravan/internal/token"
	users "caravan/services/users/contract"
)

// testSettings are the defaults, with limits that no test reaches by accident.
func testSettings() settings {
	return settings{
		Limit:   limitSettings{Enabled: true, Scale: 1000, Callers: 10_000, Public: 1200, SignedIn: 1200, Credentials: 20, Refused: 120},
		Forward: forwardSettings{DialTimeout: time.Second, Concurrent: 1024, Held: 512, Streams: 512},
		Cache:   cacheSettings{Enabled: true, Entries: 100, Bytes: 1 << 20, Answer: 64 << 10},
		Breaker: proxy.BreakerSettings{Consecutive: 5, Ratio: 0.5, Requests: 20, Window: 10 * time.Second, Open: 5 * time.Second, Probes: 3},
		Health:  healthSettings{Timeout: time.Second},
	}
}

// fakeInvoker answers as orders does when it is asked about its breakers.
type fakeInvoker struct{ err error }

func (f fakeInvoker) Invoke(_ context.Context, app, path string, _, out any) error {
	if f.err != nil {
		return f.err
	}
	if app != "orders" || path != "/internal/breakers" {
		return fmt.Errorf("unexpected call of %s%s", app, path)
	}
	return json.Unmarshal([]byte(`{"breakers":[{"target":"payments/internal/authorize","app":"payments","state":"open","since":"2026-01-02T03:04:05Z","refused":3,"opened":1}]}`), out)
}

// stage is a whole gateway in front of a fake sidecar.
type stage struct {
	t       testing.TB
	server  *httptest.Server
	sidecar *proxytest.FakeSidecar
	table   *route.Table
	log     *proxytest.Log
	spans   *tracetest.SpanRecorder
	signer  token.Signer
	keysErr error
}

func newStage(t testing.TB, cfg settings) *stage {
	t.Helper()
	return newStageAt(t, cfg, clock.System{})
}

func newStageAt(t testing.TB, cfg settings, clk clock.Clock) *stage {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{
		t: t, sidecar: proxytest.NewFakeSidecar(t), log: new(proxytest.Log), spans: tracetest.NewSpanRecorder(),
		signer: token.Signer{KeyID: "k1", Key: private},
	}
	log := telemetry.NewLogger(s.log, "gateway", slog.LevelDebug)
	fetch := func(context.Context) (token.KeySet, error) {
		return token.KeySet{Keys: []token.Key{{ID: "k1", Public: public}}}, s.keysErr
	}
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s.spans)).Tracer("test")
	front, err := assemble(cfg, surroundings{
		Probes: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			body := `{"status":"ready","checks":{"sidecar":"ok"}}`
			if r.URL.Path == "/livez" {
				body = `{"status":"alive"}`
			}
			_, _ = io.WriteString(w, body)
		}),
		Log: log, Clock: clk, IDs: id.Random{}, Tracer: tracer, Meter: noop.Meter{},
		Sidecar: s.sidecar.URL(), Token: proxytest.Token, Invoker: fakeInvoker{},
		Verifier: token.NewVerifier(fetch, users.Issuer, users.Audience, clock.System{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.table, err = loadRoutes(cfg.Routes); err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewServer(front)
	t.Cleanup(s.server.Close)
	for _, app := range s.table.Apps() {
		s.sidecar.Handle(app, answerShape)
	}
	return s
}

// answerShape is a fake service. It answers readiness checks, and everything else with a problem of its own.
func answerShape(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/readyz" {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"ready","checks":{"store":"ok"}}`)
		return
	}
	r = r.WithContext(correlation.With(r.Context(), r.Header.Get(correlation.Header)))
	problem.Write(w, r, problem.Unprocessable("reached", r.Method+" "+r.URL.Path))
}

// tokenOf makes an access token for a user with the roles.
func (s *stage) tokenOf(roles ...string) string {
	s.t.Helper()
	now := time.Now()
	raw, err := s.signer.Sign(token.Claims{
		Issuer: users.Issuer, Subject: "0198c0de-0000-7000-8000-00000000000a", Audience: users.Audience, ClientID: users.ClientID,
		SessionID: "s1", ID: id.Random{}.New(), IssuedAt: now, Expiry: now.Add(5 * time.Minute), Roles: roles, Permissions: users.PermissionsOf(roles),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

type answer struct {
	*http.Response
	body []byte
}

func (a answer) problem(t testing.TB) *problem.Problem {
	t.Helper()
	var p problem.Problem
	if a.Header.Get("Content-Type") != problem.ContentType {
		t.Fatalf("%s: %d is not a problem but %s: %.200s", a.Request.URL, a.StatusCode, a.Header.Get("Content-Type"), a.body)
	}
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != a.StatusCode || p.CorrelationID == "" || p.CorrelationID != a.Header.Get("X-Correlation-Id") {
		t.Errorf("%s: the problem %s does not fit status %d and correlation id %s", a.Request.URL, a.body, a.StatusCode, a.Header.Get("X-Correlation-Id"))
	}
	return &p
}

func (s *stage) do(method, target, bearer, body string, headers ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, s.server.URL+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body == "" {
		r.Body = http.NoBody
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{response, got}
}

func fill(pattern string) string {
	return regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(pattern, "0198c0de-0000-7000-8000-000000000001")
}

// Every route admits exactly the callers that it names, for every kind of caller.
func TestAccessMatrix(t *testing.T) {
	s := newStage(t, testSettings())
	callers := map[string]struct {
		bearer string
		roles  []string
	}{
		"anonymous": {"", nil}, "forged": {"e30.e30.e30", nil},
		"nobody":   {s.tokenOf(), []string{}},
		"customer": {s.tokenOf(users.RoleCustomer), []string{users.RoleCustomer}},
		"staff":    {s.tokenOf(users.RoleStaff), []string{users.RoleStaff}},
		"admin":    {s.tokenOf(users.RoleAdmin), []string{users.RoleAdmin}},
	}
	for _, r := range s.table.Routes() {
		for name, caller := range callers {
			want := 0 // admitted
			switch {
			case r.Access.Kind == route.Public, r.Access.Kind == route.Optional && caller.bearer == "":
			case caller.roles == nil:
				want = http.StatusUnauthorized
			case slices.ContainsFunc(r.Access.Permissions, func(p string) bool { return !slices.Contains(users.PermissionsOf(caller.roles), p) }):
				want = http.StatusForbidden
			}
			before := len(s.sidecar.Requests())
			got := s.do(r.Method, fill(r.Pattern), caller.bearer, "")
			reached := len(s.sidecar.Requests()) > before
			switch {
			case want != 0:
				if got.StatusCode != want || reached {
					t.Errorf("%s by %s: got %d (reached a service: %v), want %d", r.Name, name, got.StatusCode, reached, want)
				}
				got.problem(t)
				if got.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s by %s: no challenge", r.Name, name)
				}
			case r.App == route.Gateway:
				if got.StatusCode != http.StatusOK {
					t.Errorf("%s by %s: got %d %s", r.Name, name, got.StatusCode, got.body)
				}
			default:
				if p := got.problem(t); p.Slug() != "reached" || p.Detail != r.Method+" "+fill(r.Pattern) {
					t.Errorf("%s by %s: got %s", r.Name, name, got.body)
				}
			}
		}
	}
	if stray := s.sidecar.Stray(); len(stray) > 0 {
		t.Error(stray)
	}
}

// An optional route forwards a caller's token when there is one; a public route never does.
func TestOptionalAccess(t *testing.T) {
	s := newStage(t, testSettings())
	staff := s.tokenOf(users.RoleStaff)
	for _, tc := range []struct{ path, bearer, want string }{
		{"/v1/products/TEA-1", staff, "Bearer " + staff}, {"/v1/products/TEA-1", "", ""}, {"/v1/products", staff, ""},
	} {
		s.do("GET", tc.path, tc.bearer, "")
		all := s.sidecar.Requests()
		if got := all[len(all)-1].Header.Get("Authorization"); got != tc.want {
			t.Errorf("%s: the service received %.20q, want %.20q", tc.path, got, tc.want)
		}
	}
}

// raw sends bytes over a new connection and reads the answer. A client library would correct the bytes.
func (s *stage) raw(request string) answer {
	s.t.Helper()
	connection, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.WriteString(connection, request); err != nil {
		s.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		s.t.Fatalf("%q: %v", request, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	response.Request = httptest.NewRequest("GET", "/raw", nil)
	return answer{response, body}
}

// No spelling of a path reaches an internal path.
func TestPathTricks(t *testing.T) {
	s := newStage(t, testSettings())
	admin := s.tokenOf(users.RoleAdmin)
	inside := []string{
		"internal/audit", "internal/reserve", "events/orders", "events/dead", "dapr/subscribe", "dapr/config", "v1.0/state/store/x", "v1.0/secrets/x/y",
		"v1.0/shutdown", "v1.0/publish/pubsub/orders", "v1.0/invoke/payments/method/internal/capture", "metrics", "debug/pprof/", "v1/ops/audit",
	}
	tricks := []string{
		"/%s", "//%s", "/./%s", "/../%s", "/v1/../%s", "/v1/orders/../../%s", "/v1/orders/..%%2f..%%2f%s", "/v1/orders/%%2e%%2e/%%2e%%2e/%s", "/v1/orders/%%252e%%252e/%s",
		"/v1/orders/..;/..;/%s", "/v1/orders/.;/%s", "/v1/orders/x/../../../%s", "/v1/orders/%%5c..%%5c%s", `/v1/orders/..\..\%s`, "/v1/orders/x%%00/%s", "/v1/orders/x%%0d%%0a/%s",
		"/v1/orders/%%c0%%ae%%c0%%ae/%s", "/v1/orders/%%ef%%bc%%8e%%ef%%bc%%8e/%s", "/v1/orders//%s", "/V1/orders/../%s", "http://127.0.0.1/%s", "http://orders/%s", "/%%2f%s", "/%s/", "/%s%%20", "/%s;x", "/%s.", "/%s%%3f",
	}
	for _, trick := range tricks {
		for _, target := range inside {
			path := fmt.Sprintf(trick, target)
			if trick == "/%s" && target == "v1/ops/audit" {
				continue // a public route, for staff
			}
			got := s.raw("GET " + path + " HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer " + admin + "\r\nConnection: close\r\n\r\n")
			if got.StatusCode != 400 && got.StatusCode != 404 && got.StatusCode != 405 {
				t.Errorf("%s: got %d %.100s", path, got.StatusCode, got.body)
			}
		}
	}
	for _, request := range []string{"OPTIONS * HTTP/1.1", "GET * HTTP/1.1", "CONNECT orders:80 HTTP/1.1", "PRI * HTTP/1.1"} {
		if got := s.raw(request + "\r\nHost: x\r\nConnection: close\r\n\r\n"); got.StatusCode == 200 && len(got.body) > 0 || got.StatusCode >= 500 && got.StatusCode != 505 {
			t.Errorf("%s: got %d %s", request, got.StatusCode, got.body)
		}
	}
	if n := len(s.sidecar.Requests()); n != 0 {
		t.Errorf("%d requests reached the sidecar: %+v", n, s.sidecar.Requests()[0])
	}
}

// No header chooses the target, claims an identity or sets one of our trace ids.
func TestHeaderSpoofing(t *testing.T) {
	s := newStage(t, testSettings())
	names := []string{
		"dapr-app-id", "DAPR-APP-ID", "dapr_app_id", "dapr-caller-app-id", "dapr-caller-namespace", "dapr-callee-app-id", "dapr-api-token", "dapr-stream",
		"X-User-Id", "X-User-Role", "X-User-Email", "X-Tenant", "X-Forwarded-User", "X-Authenticated-User", "X-Authenticated-Userid", "X-Auth-Request-User",
		"X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
		"X-Forwarded-Prefix", "X-Forwarded-Port", "X-Real-Ip", "Forwarded", "True-Client-Ip", "Via", "Cookie", "Baggage", "Tracestate", "Proxy-Authorization", "X-Forwarded-Authorization",
		"Te", "Trailer", "Upgrade", "X-Request-Id", "Grpc-Metadata-Role", "Sec-Websocket-Key", "Origin", "Referer", "Range", "X-Api-Key", "Host2",
	}
	customer := s.tokenOf(users.RoleCustomer)
	for _, r := range []struct{ method, path, bearer string }{
		{"GET", "/v1/products", ""}, {"GET", "/v1/orders", customer}, {"POST", "/v1/orders", customer}, {"GET", "/v1/wallet", customer}, {"GET", "/v1/users", customer}, {"GET", "/v1/ops/audit", ""},
	} {
		for _, name := range names {
			s.do(r.method, r.path, r.bearer, "", name, "payments", "Connection", "close, Authorization, X-Correlation-Id, Dapr-Api-Token, "+name)
		}
	}
	for _, received := range s.sidecar.Requests() {
		for name, values := range received.Header {
			switch name {
			case "Accept", "Authorization", "Dapr-Api-Token", "Traceparent", "X-Correlation-Id", "X-Forwarded-For", "Content-Length", "Content-Type":
				if slices.Contains(values, "payments") {
					t.Errorf("%s %s: %s is the client's", received.Method, received.Path, name)
				}
			default:
				t.Errorf("%s %s: the sidecar received %s: %q", received.Method, received.Path, name, values)
			}
		}
		if received.Header.Get("Dapr-Api-Token") != proxytest.Token || received.Header.Get("X-Forwarded-For") != "127.0.0.1" {
			t.Errorf("%s: token %q, client %q", received.Path, received.Header["Dapr-Api-Token"], received.Header["X-Forwarded-For"])
		}
	}
	if stray := s.sidecar.Stray(); len(stray) > 0 {
		t.Error(stray)
	}
}

func TestOwnProblems(t *testing.T) {
	s := newStage(t, testSettings())
	customer := s.tokenOf(users.RoleCustomer)
	for name, tc := range map[string]struct {
		method, path, bearer, body string
		status                     int
		slug                       string
	}{
		"unknown path":     {"GET", "/v1/nothing", "", "", 404, "not-found"},
		"trailing slash":   {"GET", "/v1/products/", "", "", 404, "not-found"},
		"bad target":       {"GET", "/v1//products", "", "", 400, "malformed-request"},
		"wrong method":     {"DELETE", "/v1/products", "", "", 405, "method-not-allowed"},
		"large body":       {"POST", "/v1/orders", customer, strings.Repeat("x", 65<<10), 413, "too-large"},
		"no credentials":   {"GET", "/v1/wallet", "", "", 401, "unauthorized"},
		"wrong role":       {"GET", "/v1/ops/audit", customer, "", 403, "forbidden"},
		"service problem":  {"POST", "/v1/orders", customer, "{}", 422, "reached"},
		"options":          {"OPTIONS", "/v1/products", "", "", 405, "method-not-allowed"},
		"method spelling":  {"get", "/v1/products", "", "", 405, "method-not-allowed"},
		"metrics stay in":  {"GET", "/metrics", "", "", 404, "not-found"},
		"internal stay in": {"POST", "/internal/audit", customer, "{}", 404, "not-found"},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.do(tc.method, tc.path, tc.bearer, tc.body)
			if p := got.problem(t); got.StatusCode != tc.status || p.Slug() != tc.slug {
				t.Errorf("got %d %s", got.StatusCode, got.body)
			}
			for header, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
				"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cross-Origin-Resource-Policy": "same-origin",
			} {
				if got.Header.Get(header) != want {
					t.Errorf("%s: got %q, want %q", header, got.Header.Get(header), want)
				}
			}
			if (tc.status == 405) != (got.Header.Get("Allow") != "") {
				t.Errorf("Allow: %q", got.Header.Get("Allow"))
			}
			if len(got.Header.Get("Traceparent")) != 55 || got.Header.Get("Ratelimit") == "" || got.Header.Get("Ratelimit-Policy") == "" {
				t.Errorf("headers %v", got.Header)
			}
		})
	}
}

func TestRateLimits(t *testing.T) {
	cfg := testSettings()
	cfg.Limit.Scale, cfg.Limit.Credentials, cfg.Limit.Public, cfg.Limit.SignedIn, cfg.Limit.Refused = 1, 2, 5, 4, 3
	s := newStage(t, cfg)
	customer := s.tokenOf(users.RoleCustomer)
	field := regexp.MustCompile(`^"([a-zA-Z]+)";r=(\d+);t=(\d+)$`)
	for _, tc := range []struct {
		method, path, bearer, class string
		allowed                     int
	}{
		{"POST", "/v1/sessions", "", "credentials", 2}, {"GET", "/v1/products", "", "public", 5}, {"GET", "/v1/orders", customer, "signedIn", 4},
		{"GET", "/v1/wallet", "e30.e30.e30", "refused", 3}, {"GET", "/unknown", "", "public", 0},
	} {
		for i := range tc.allowed + 1 {
			got := s.do(tc.method, tc.path, tc.bearer, "")
			parts := field.FindStringSubmatch(got.Header.Get("RateLimit"))
			if parts == nil || parts[1] != tc.class || !strings.HasPrefix(got.Header.Get("RateLimit-Policy"), `"`+tc.class+`";q=`) {
				t.Fatalf("%s %d: RateLimit %q, RateLimit-Policy %q", tc.path, i, got.Header.Get("RateLimit"), got.Header.Get("RateLimit-Policy"))
			}
			if limited := got.StatusCode == 429; limited != (i == tc.allowed) {
				t.Errorf("%s %d: got %d", tc.path, i, got.StatusCode)
			} else if limited && (got.problem(t).Slug() != "too-many-requests" || got.Header.Get("Retry-After") != parts[3] || parts[3] == "0") {
				t.Errorf("%s: Retry-After %q, RateLimit %q", tc.path, got.Header.Get("Retry-After"), parts[0])
			}
		}
	}
	for range 20 {
		if got := s.do("GET", "/readyz", "", ""); got.StatusCode != 200 || got.Header.Get("RateLimit") != "" {
			t.Fatalf("a probe got %d", got.StatusCode)
		}
	}
	if got := s.do("GET", "/v1/wallet", s.tokenOf(users.RoleCustomer), ""); got.StatusCode != 429 {
		t.Errorf("another token of the same subject got %d", got.StatusCode)
	}
}

func TestCorrelationAndTrace(t *testing.T) {
	s := newStage(t, testSettings())
	const theirs = "00-11111111111111111111111111111111-2222222222222222-01"
	got := s.do("GET", "/v1/products", "", "", "X-Correlation-Id", "order-7.A_b", "Traceparent", theirs)
	if got.Header.Get("X-Correlation-Id") != "order-7.A_b" {
		t.Errorf("the client's correlation id became %q", got.Header.Get("X-Correlation-Id"))
	}
	received := s.sidecar.Requests()[0].Header
	if received.Get("X-Correlation-Id") != "order-7.A_b" || received.Get("Traceparent") != got.Header.Get("Traceparent") {
		t.Errorf("the service received %v", received)
	}
	span := s.spans.Ended()[0]
	if strings.Contains(got.Header.Get("Traceparent"), strings.Repeat("1", 32)) || span.Parent().IsValid() || span.Name() != "GET /v1/products" {
		t.Errorf("span %s with parent %v; traceparent %s", span.Name(), span.Parent(), got.Header.Get("Traceparent"))
	}
	if links := span.Links(); len(links) != 1 || links[0].SpanContext.TraceID().String() != strings.Repeat("1", 32) {
		t.Errorf("links %v", links)
	}
	seen := make(map[string]bool)
	for _, bad := range []string{"", "has space", strings.Repeat("a", 65), "a\tb", "ü", "a/b"} {
		got := s.do("GET", "/v1/products", "", "", "X-Correlation-Id", bad, "Traceparent", "00-00-00-00")
		if own := got.Header.Get("X-Correlation-Id"); own == bad || !id.Valid(own) || seen[own] {
			t.Errorf("%q became %q", bad, own)
		} else {
			seen[own] = true
		}
	}
}

func TestAccessLog(t *testing.T) {
	s := newStage(t, testSettings())
	customer := s.tokenOf(users.RoleCustomer)
	s.do("GET", "/v1/orders/o-1?secret=query", customer, "", "X-Correlation-Id", "c1")
	s.do("GET", "/v1/wallet", "", "", "X-Correlation-Id", "c2")
	lines := make(map[string]map[string]any)
	for line := range strings.Lines(s.log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		if fields["msg"] == "request" {
			lines[fmt.Sprint(fields["correlation_id"])] = fields
		}
	}
	if l := lines["c1"]; l["route"] != "/v1/orders/{id}" || l["method"] != "GET" || l["status"] != 422.0 || l["subject"] != "0198c0de-0000-7000-8000-00000000000a" ||
		l["trace_id"] == nil || l["duration_ms"] == nil {
		t.Errorf("got %v", l)
	}
	if l := lines["c2"]; l["status"] != 401.0 || l["subject"] != nil || l["reason"] == nil {
		t.Errorf("got %v", l)
	}
	for _, secret := range []string{customer, "secret", "o-1", proxytest.Token} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log holds %.40q", secret)
		}
	}
}

func TestUnavailable(t *testing.T) {
	s := newStage(t, testSettings())
	s.sidecar.Handle("products", nil)
	for i := range 5 {
		got := s.do("GET", "/v1/products", "", "")
		if p := got.problem(t); got.StatusCode != 503 || p.Slug() != "service-unavailable" || got.Header.Get("Retry-After") == "" {
			t.Fatalf("%d: got %d %s", i, got.StatusCode, got.body)
		}
	}
	before := len(s.sidecar.Requests())
	if got := s.do("GET", "/v1/products", "", ""); got.StatusCode != 503 || got.Header.Get("Retry-After") != "5" || len(s.sidecar.Requests()) != before {
		t.Errorf("with an open breaker: got %d, Retry-After %q, %d more calls", got.StatusCode, got.Header.Get("Retry-After"), len(s.sidecar.Requests())-before)
	}
	got := s.do("GET", "/v1/ops/breakers", s.tokenOf(users.RoleStaff), "")
	if !strings.Contains(string(got.body), `"app":"products","state":"open"`) || !strings.Contains(string(got.body), `"target":"payments/internal/authorize","state":"open"`) ||
		!strings.Contains(string(got.body), `"complete":true`) {
		t.Errorf("breakers: %s", got.body)
	}
	health := s.do("GET", "/healthz", "", "")
	if health.StatusCode != 503 || !strings.Contains(string(health.body), `"products":{"status":"unreachable"`) || !strings.Contains(string(health.body), `"users":{"status":"ready"`) {
		t.Errorf("health: %d %s", health.StatusCode, health.body)
	}
	services := s.do("GET", "/v1/ops/services", s.tokenOf(users.RoleStaff), "")
	if !strings.Contains(string(services.body), "couldn't find service") || strings.Contains(string(health.body), "find service") {
		t.Errorf("services: %s", services.body)
	}
}

func TestKeysUnavailable(t *testing.T) {
	s := newStage(t, testSettings())
	s.keysErr = fmt.Errorf("users is down")
	got := s.do("GET", "/v1/orders", s.tokenOf(users.RoleCustomer), "")
	if got.problem(t); got.StatusCode != 503 || got.Header.Get("Retry-After") == "" || got.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("got %d %v", got.StatusCode, got.Header)
	}
	if got := s.do("GET", "/v1/products", "", ""); got.StatusCode != 422 {
		t.Errorf("a public call got %d", got.StatusCode)
	}
}

// Every answer of the gateway itself matches its published description.
func TestAnswersFitTheDescription(t *testing.T) {
	cfg := testSettings()
	cfg.Limit.Scale, cfg.Limit.Credentials = 1, 1
	s := newStage(t, cfg)
	document, err := spec.Load(openapiYAML)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := openapi3.NewLoader().LoadFromData(document.JSON)
	if err != nil {
		t.Fatal(err)
	}
	staff := s.tokenOf(users.RoleStaff)
	s.do("POST", "/v1/sessions", "", "") // the only one that the limit allows; a service answers it
	for _, tc := range []struct{ method, path, bearer string }{
		{"GET", "/livez", ""}, {"GET", "/readyz", ""}, {"GET", "/healthz", ""}, {"GET", "/openapi.json", ""},
		{"GET", "/v1/ops/services", staff}, {"GET", "/v1/ops/breakers", staff}, {"GET", "/v1/ops/audit", ""}, {"GET", "/v1/ops/audit", s.tokenOf()},
		{"GET", "/v1/wallet", ""}, {"POST", "/v1/sessions", ""}, {"POST", "/v1/orders", staff},
	} {
		got := s.do(tc.method, tc.path, tc.bearer, "")
		operation := parsed.Paths.Value(tc.path).GetOperation(tc.method)
		err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{
				Request: got.Request, Route: &routers.Route{Spec: parsed, Path: tc.path, PathItem: parsed.Paths.Value(tc.path), Method: tc.method, Operation: operation},
			},
			Status: got.StatusCode, Header: got.Header, Body: io.NopCloser(bytes.NewReader(got.body)),
			Options: &openapi3filter.Options{IncludeResponseStatus: true},
		})
		if err != nil {
			t.Errorf("%s %s: %d %s: %v", tc.method, tc.path, got.StatusCode, got.body, err)
		}
	}
}
