package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"caravan/gateway/proxy"
	"caravan/gateway/proxy/proxytest"
	"caravan/internal/clock"
	"caravan/internal/id"
	"caravan/internal/telemetry"
	"caravan/internal/token"
	users "caravan/services/users/contract"
)

// Each proxy of the benchmark runs in its own process, because otherwise its processor time could not be separated from
// that of clients and service. This test binary is that process when the variable names a proxy.
const (
	benchProxy    = "CARAVAN_BENCH_PROXY"
	benchUpstream = "CARAVAN_BENCH_UPSTREAM"
)

// benchBody is the answer to every request.
var benchBody = []byte(`{"id":"` + strings.Repeat("x", 1000) + `"}`)

func serveBody(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", shownAs)
	_, _ = w.Write(benchBody)
}

// traffic is what the clients send: the path of the n-th request, and whether they are signed in.
type traffic struct {
	path     func(n int64) string
	signedIn bool
}

var (
	orders      = traffic{path: func(int64) string { return "/v1/orders/0198c0de-0000-7000-8000-000000000001" }, signedIn: true}
	oneProduct  = traffic{path: func(int64) string { return "/v1/products/TEA-GREEN-100" }}
	newProducts = traffic{path: func(n int64) string { return fmt.Sprintf("/v1/products/TEA-%d", n) }}
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(benchProxy); kind != "" {
		if err := serveProxy(kind, os.Getenv(benchUpstream)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveProxy is the proxy process. It prints its address and a token, and its processor time for every line it reads.
func serveProxy(kind, upstream string) error {
	target, err := url.Parse(upstream)
	if err != nil {
		return err
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	now := time.Now()
	raw, err := token.Signer{KeyID: "k", Key: private}.Sign(token.Claims{
		Issuer: users.Issuer, Subject: id.Random{}.New(), Audience: users.Audience, ClientID: users.ClientID, SessionID: id.Random{}.New(),
		ID: id.Random{}.New(), IssuedAt: now, Expiry: now.Add(time.Hour), Roles: []string{users.RoleCustomer},
		Permissions: users.PermissionsOf([]string{users.RoleCustomer}),
	})
	if err != nil {
		return err
	}
	handler, err := proxyHandler(kind, target, public)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with the process
	fmt.Println(listener.Addr(), raw)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var used syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
			return err
		}
		fmt.Println(used.Utime.Nano() + used.Stime.Nano())
	}
	return server.Close()
}

func proxyHandler(kind string, target *url.URL, public ed25519.PublicKey) (http.Handler, error) {
	if kind == "handler" {
		return http.HandlerFunc(serveBody), nil
	}
	if kind == "bare" {
		return &httputil.ReverseProxy{
			Transport: proxy.NewTransport(time.Second),
			Rewrite: func(pr *httputil.ProxyRequest) {
				pr.Out.URL = &url.URL{Scheme: "http", Host: target.Host, Path: "/v1.0/invoke/orders/method" + pr.In.URL.Path}
				pr.Out.Header.Set("Dapr-Api-Token", proxytest.Token)
			},
		}, nil
	}
	ctx := context.Background()
	t, err := telemetry.New(ctx, "gateway", func(string) string { return "" })
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	cfg := testSettings()
	cfg.Limit.Scale = 1_000_000
	return assemble(cfg, surroundings{
		Probes: http.NotFoundHandler(), Log: telemetry.NewLogger(null, "gateway", slog.LevelInfo), Clock: clock.System{}, IDs: id.Random{},
		Tracer: t.Tracer, Meter: t.Meter, Sidecar: target, Token: proxytest.Token, Invoker: fakeInvoker{},
		Verifier: token.NewVerifier(func(context.Context) (token.KeySet, error) {
			return token.KeySet{Keys: []token.Key{{ID: "k", Public: public}}}, nil
		}, users.Issuer, users.Audience, clock.System{}),
	})
}

// proxyProcess is a proxy under measurement.
type proxyProcess struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	url     string
	token   string
	sent    atomic.Int64
}

func startProxy(b *testing.B, kind, upstream string) *proxyProcess {
	b.Helper()
	p := &proxyProcess{command: exec.Command(os.Args[0])}
	p.command.Env = append(os.Environ(), benchProxy+"="+kind, benchUpstream+"="+upstream, "GOMAXPROCS=1")
	p.command.Stderr = os.Stderr
	in, err := p.command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close() // this ends the process
		_ = p.command.Wait()
	})
	p.in, p.out = in, bufio.NewReader(out)
	var address string
	if _, err := fmt.Fscanln(p.out, &address, &p.token); err != nil {
		b.Fatal(err)
	}
	p.url = "http://" + address
	return p
}

func (p *proxyProcess) cpu(b *testing.B) time.Duration {
	b.Helper()
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		b.Fatal(err)
	}
	var ns int64
	if _, err := fmt.Fscanln(p.out, &ns); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ns)
}

// load sends requests from a few clients and returns the proxy's processor time per request.
func (p *proxyProcess) load(b *testing.B, client *http.Client, t traffic, requests int) time.Duration {
	b.Helper()
	const clients = 8
	before := p.cpu(b)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range requests / clients {
				r, err := http.NewRequest(http.MethodGet, p.url+t.path(p.sent.Add(1)), nil)
				if err != nil {
					b.Error(err)
					return
				}
				if t.signedIn {
					r.Header.Set("Authorization", "Bearer "+p.token)
				}
				r.Header.Set("Accept", "application/json")
				response, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode != http.StatusOK {
					b.Errorf("status %d", response.StatusCode)
					return
				}
			}
		})
	}
	all.Wait()
	return (p.cpu(b) - before) / time.Duration(requests/clients*clients)
}

// BenchmarkPolicyChain compares the processor time of one request through the whole chain (route, trace, token, limit,
// breaker, log, metric) with that through a bare httputil.ReverseProxy: 1 KB of JSON, kept-alive connections, one
// processor each, interleaved rounds, medians. The target is a ratio of at most 0.9, also for requests that look into the
// cache, do not find the answer there, and keep it.
func BenchmarkPolicyChain(b *testing.B) {
	for name, t := range map[string]traffic{"signed in": orders, "not in the cache": newProducts} {
		b.Run(name, func(b *testing.B) { compare(b, t, "chain", "bare") })
	}
}

// BenchmarkCachedRead compares an answer from the cache, through the whole chain, with that of a bare handler. The target is
// at most twice its processor time.
func BenchmarkCachedRead(b *testing.B) { compare(b, oneProduct, "chain", "handler") }

// compare measures two programs in turn.
func compare(b *testing.B, t traffic, kind, other string) {
	upstream := httptest.NewServer(http.HandlerFunc(serveBody))
	b.Cleanup(upstream.Close)
	one, two := startProxy(b, kind, upstream.URL), startProxy(b, other, upstream.URL)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	one.load(b, client, t, 2000)
	two.load(b, client, t, 2000)
	var first, second []time.Duration
	for b.Loop() {
		first = append(first, one.load(b, client, t, 4000))
		second = append(second, two.load(b, client, t, 4000))
	}
	b.ReportMetric(0, "ns/op") // this figure means nothing here
	b.ReportMetric(float64(median(first).Nanoseconds())/1000, kind+"-us/req")
	b.ReportMetric(float64(median(second).Nanoseconds())/1000, other+"-us/req")
	b.ReportMetric(float64(median(first))/float64(median(second)), "ratio")
}

func median(values []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
