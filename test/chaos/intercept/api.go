package intercept

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"caravan/internal/launcher"
)

// reconnect makes a proxy as quick to find a sidecar that came back as the
// program would be.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
	MinConnectTimeout: 2 * time.Second,
}

// maxBody bounds what is invoked, in bytes.
const maxBody = 16 << 20

// apiProxy passes the HTTP API of a sidecar on.
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
		// A sidecar that is not there is a broken connection, not an answer.
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

// ServeHTTP passes a call on, or to the fault that is meant for it.
func (p *apiProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, invoked := strings.CutPrefix(r.URL.Path, "/v1.0/invoke/")
	target, path, whole := strings.Cut(rest, "/method")
	if !invoked || !whole {
		p.through.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler) // the program has gone in the middle
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	call := Call{Process: p.link.Process, App: p.link.App, Kind: Invoke, Target: target, Path: path, Body: body}
	fault := p.interceptor.catch(call)
	if fault == nil {
		p.through.ServeHTTP(w, r)
		return
	}
	p.answer(w, fault.strike(call, func() Reply {
		ctx, cancel := detached(r.Context())
		defer cancel()
		return p.forward(ctx, r, body)
	}))
}

// forward hands a call to the sidecar whether or not the program still waits.
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
		// As the sidecar says it (https://docs.dapr.io/reference/api/service_invocation_api/).
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
	_, _ = w.Write(reply.api.body) // fails only when the program has gone
}
