package intercept

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"caravan/dapr/launcher"
)

// reconnect makes a proxy find a sidecar that came back as fast as the program would.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
	MinConnectTimeout: 2 * time.Second,
}

// maxBody limits the body of an invocation, in bytes.
const maxBody = 16 << 20

// apiProxy forwards the HTTP API of a sidecar.
type apiProxy struct {
	interceptor *Interceptor
	link        launcher.Link
	transport   *http.Transport
	through     *httputil.ReverseProxy
}

func newAPIProxy(i *Interceptor, link launcher.Link) *apiProxy {
	p := &apiProxy{interceptor: i, link: link, transport: &http.Transport{
		MaxIdleConnsPerHost: 512, DisableCompression: true, IdleConnTimeout: 90 * time.Second,
	}}
	p.through = &httputil.ReverseProxy{
		Transport: p.transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			p.direct(r.Out)
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if values, ok := r.In.Header[name]; ok {
					r.Out.Header[name] = values
				}
			}
		},
		// An unavailable sidecar is a broken connection, not an answer.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	return p
}

func (p *apiProxy) direct(r *http.Request) {
	r.URL.Scheme, r.URL.Host = "http", "127.0.0.1:"+strconv.Itoa(p.link.HTTPPort)
}

// apiReply is the sidecar's answer to a call.
type apiReply struct {
	status int
	header http.Header
	body   []byte
}

// ServeHTTP forwards a call, or passes it to its fault.
func (p *apiProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, invoked := strings.CutPrefix(r.URL.Path, "/v1.0/invoke/")
	target, path, whole := strings.Cut(rest, "/method")
	if !invoked || !whole {
		p.through.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler) // the program stopped during the call
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	call := Call{Process: p.link.Process, App: p.link.App, Kind: Invoke, Target: target, Path: path, Body: body}
	if !p.interceptor.wanted(call) {
		p.through.ServeHTTP(w, r)
		return
	}
	if commands := commandsOf(body); len(commands) > 1 {
		p.answer(w, p.passApart(r, call, commands))
		return
	}
	p.answer(w, p.pass(r, call))
}

// pass passes a call to its fault, or to the sidecar.
func (p *apiProxy) pass(r *http.Request, call Call) Reply {
	fault := p.interceptor.catch(call)
	if fault == nil {
		return p.forward(r.Context(), r, call.Body)
	}
	return fault.strike(call, func() Reply {
		ctx, cancel := detached(r.Context())
		defer cancel()
		return p.forward(ctx, r, call.Body)
	})
}

// batch is the wire form of several commands in one call (package invoke).
type batch struct {
	Commands []json.RawMessage `json:"commands"`
}

// outcomes is the wire form of their answers.
type outcomes struct {
	Results []json.RawMessage `json:"results"`
}

func commandsOf(body []byte) []json.RawMessage {
	var b batch
	if json.Unmarshal(body, &b) != nil {
		return nil // the called app takes no commands
	}
	return b.Commands
}

// passApart invokes the commands that have a fault one by one, separately from the others. So a fault of one command
// does not affect others of the same call.
func (p *apiProxy) passApart(r *http.Request, call Call, commands []json.RawMessage) Reply {
	results := make([]json.RawMessage, len(commands))
	var rest []int
	var apart sync.WaitGroup
	for n, command := range commands {
		one := call
		one.Body = encode(batch{[]json.RawMessage{command}})
		if !p.interceptor.wanted(one) {
			rest = append(rest, n)
			continue
		}
		apart.Go(func() { spread(p.pass(r, one), results, []int{n}) })
	}
	if len(rest) > 0 {
		others := batch{}
		for _, n := range rest {
			others.Commands = append(others.Commands, commands[n])
		}
		spread(p.forward(r.Context(), r, encode(others)), results, rest)
	}
	apart.Wait()
	return Reply{api: &apiReply{http.StatusOK, http.Header{"Content-Type": {"application/json"}}, encode(outcomes{results})}}
}

// spread puts the answers to some commands in their places. A command without an answer gets the outcome of an
// unavailable one.
func spread(reply Reply, results []json.RawMessage, places []int) {
	var got outcomes
	if !reply.OK() || json.Unmarshal(reply.Body(), &got) != nil || len(got.Results) != len(places) {
		unavailable := json.RawMessage(`{"error":{"status":503,"slug":"service-unavailable","detail":"injected fault"}}`)
		got.Results = slices.Repeat([]json.RawMessage{unavailable}, len(places))
	}
	for i, place := range places {
		results[place] = got.Results[i]
	}
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(http.ErrAbortHandler) // it was valid JSON before
	}
	return raw
}

// forward passes a call to the sidecar, whether or not the program still waits.
func (p *apiProxy) forward(ctx context.Context, r *http.Request, body []byte) Reply {
	out := r.Clone(ctx)
	out.RequestURI, out.Body, out.ContentLength = "", io.NopCloser(bytes.NewReader(body)), int64(len(body))
	p.direct(out)
	response, err := p.transport.RoundTrip(out)
	if err != nil {
		return lost()
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return lost()
	}
	return Reply{api: &apiReply{response.StatusCode, response.Header, answer}}
}

func (p *apiProxy) answer(w http.ResponseWriter, reply Reply) {
	if f := reply.failure; f != nil {
		if f.code == brokenConnection {
			panic(http.ErrAbortHandler)
		}
		// The sidecar has this form (https://docs.dapr.io/reference/api/service_invocation_api/).
		raw, err := json.Marshal(map[string]string{"errorCode": "ERR_DIRECT_INVOKE", "message": fmt.Sprintf("failed to invoke, id: %s, err: %s", p.link.App, f.text)})
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		reply.api = &apiReply{http.StatusInternalServerError, http.Header{"Content-Type": {"application/json"}}, raw}
	}
	for name, values := range reply.api.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(reply.api.body)))
	w.WriteHeader(reply.api.status)
	_, _ = w.Write(reply.api.body) // fails only when the program has stopped
}
