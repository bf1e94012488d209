package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"caravan/gateway/route"
)

// Timeouts from dapr/resiliency*.yaml and the gateway.
const (
	stepTimeout = 2500 * time.Millisecond // calls of orders to products and payments
	callTimeout = 15 * time.Second        // every other call
)

// transport is the HTTP API of a simulated sidecar.
type transport struct{ life *life }

// RoundTrip answers health, metadata, shutdown, service invocation and the binding of e-mails.
func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	w, r := t.life.world, t.life.replica
	path := request.URL.Path
	var response *http.Response
	if invoked, ok := strings.CutPrefix(path, "/v1.0/invoke/"); ok {
		app, method, _ := strings.Cut(invoked, "/method")
		in, err := copyOf(request)
		if err != nil {
			return nil, err
		}
		err = w.ask(request.Context(), t.life, "invoke "+app+method, func(c *call) {
			w.through(c, r, func(reply func(error)) {
				w.invoke(&invocation{from: r.app, app: app, method: method, request: in, label: c.label, reply: func(answer *http.Response) {
					response = answer
					reply(nil)
				}})
			})
		})
		if err != nil { // an answer may still come, but nobody gets it
			return nil, err
		}
		return response, nil
	}
	if path == "/v1.0/bindings/email" {
		in, err := copyOf(request)
		if err != nil {
			return nil, err
		}
		return w.mail(request.Context(), t.life, in)
	}
	err := w.ask(request.Context(), t.life, request.Method+" "+path, func(c *call) {
		w.through(c, r, func(reply func(error)) {
			response = w.sidecarAPI(r, path)
			reply(nil)
		})
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

func (w *World) sidecarAPI(r *replica, path string) *http.Response {
	switch path {
	case "/v1.0/healthz/outbound":
		return respond(http.StatusNoContent, "", nil)
	case "/v1.0/metadata":
		return respond(http.StatusOK, "application/json", w.broker.metadata(r))
	case "/v1.0/shutdown":
		w.fired["sidecar asked to end"]++
		w.after(50*time.Millisecond, "sidecar of "+r.String()+" shuts down", func() { w.crashSidecar(r) })
		return respond(http.StatusNoContent, "", nil)
	}
	return respond(http.StatusNotFound, "text/plain", []byte("no such API"))
}

// request has the parts of a request that are sent on.
type request struct {
	method, path string
	header       http.Header
	body         []byte
}

func copyOf(r *http.Request) (request, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return request{}, err
		}
	}
	return request{r.Method, r.URL.RequestURI(), r.Header.Clone(), body}, nil
}

func (r request) to(ctx context.Context, path string) *http.Request {
	out := httptest.NewRequestWithContext(ctx, r.method, path, bytes.NewReader(r.body))
	out.Header = r.header.Clone()
	out.Header.Set("dapr-api-token", appToken)
	return out
}

func respond(status int, contentType string, body []byte) *http.Response {
	header := http.Header{}
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	return &http.Response{
		StatusCode: status, Status: strconv.Itoa(status) + " " + http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// daprError is the answer of a sidecar that could not invoke.
func daprError(message string) *http.Response {
	body, _ := json.Marshal(map[string]string{"errorCode": "ERR_DIRECT_INVOKE", "message": message}) // a map of strings
	return respond(http.StatusInternalServerError, "application/json", body)
}

// invocation is a call from one service to another, with the policies of the caller's sidecar.
type invocation struct {
	from, app, method string
	request           request
	label             string
	reply             func(*http.Response)
}

func (i *invocation) step() bool {
	return i.from == "orders" && (i.app == "products" || i.app == "payments")
}

// invoke delivers a call once, or by chance twice. Only the saga repeats calls, but sidecars send again when
// connections break.
func (w *World) invoke(i *invocation) {
	timeout := callTimeout
	if i.step() {
		timeout = stepTimeout
	}
	decided := false
	decide := func(response *http.Response) {
		if !decided {
			decided = true
			i.reply(response)
		}
	}
	w.after(timeout, "time-out "+i.label, func() { decide(daprError("context deadline exceeded")) })
	if w.chance("call lost", w.faults.CallLost) {
		return
	}
	silent := w.chance("call reply lost", w.faults.CallReplyLost)
	w.after(w.latency(), "deliver "+i.label, func() {
		w.deliver(i, timeout, func(response *http.Response) {
			if !silent {
				decide(response)
			}
		})
	})
	if w.chance("call twice", w.faults.CallTwice) {
		w.after(w.between(0, 5*time.Second), "deliver again "+i.label, func() { w.deliver(i, timeout, decide) })
	}
}

// deliver passes a call to one of the callee's replicas.
func (w *World) deliver(i *invocation, timeout time.Duration, then func(*http.Response)) {
	if answer := w.faults.Sabotage.forgotten(i); answer != nil {
		then(answer)
		return
	}
	target := w.pick(i.app)
	if target == nil {
		then(daprError("failed to invoke, id: " + i.app + ", err: couldn't find service"))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	in := i.request.to(ctx, i.method)
	in.Header.Set("dapr-caller-app-id", i.from)
	w.serve(target, i.label, in, func(answer *httptest.ResponseRecorder) {
		cancel()
		if answer == nil {
			then(daprError("error invoking app channel: connection reset by peer"))
			return
		}
		w.after(w.latency(), "answered "+i.label, func() { then(answer.Result()) })
	})
}

// pick chooses a replica of an app whose program and sidecar both run.
func (w *World) pick(app string) *life {
	var candidates []*life
	for _, r := range w.replicas {
		if r.app == app && r.program != nil && r.sidecar.up {
			candidates = append(candidates, r.program)
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	return candidates[w.rng.IntN(len(candidates))]
}

// edge connects customers with the services: the gateway without its policies.
type edge struct{ world *World }

// errLost is a connection that broke.
var errLost = errors.New("connection reset by peer")

// RoundTrip sends a request to the service that answers it.
func (e edge) RoundTrip(r *http.Request) (*http.Response, error) {
	w := e.world
	in, err := copyOf(r)
	if err != nil {
		return nil, err
	}
	if key := in.header.Get("Idempotency-Key"); key != "" && w.faults.Sabotage == FreshKeys {
		in.header.Set("Idempotency-Key", strings.TrimSuffix(key, `"`)+"-"+r.Header.Get("X-Correlation-Id")+`"`)
	}
	app, err := answering(r)
	if err != nil {
		return nil, err
	}
	var response *http.Response
	label := "customer " + r.Header.Get("X-Correlation-Id") + " " + r.Method + " " + r.URL.Path
	err = w.ask(r.Context(), nil, label, func(c *call) {
		if w.chance("request lost", w.faults.CallLost) {
			w.after(w.latency(), "lost "+label, func() { w.answer(c, errLost) })
			return
		}
		silent := w.chance("answer lost", w.faults.CallReplyLost)
		i := &invocation{from: "gateway", app: app, method: in.path, request: in, label: label}
		w.after(w.latency(), "deliver "+label, func() {
			w.deliver(i, callTimeout, func(answer *http.Response) {
				if silent {
					w.answer(c, errLost)
					return
				}
				response = answer
				w.answer(c, nil)
			})
		})
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// routes are those of the gateway.
var routes = sync.OnceValues(func() (*route.Table, error) {
	source, err := os.ReadFile(filepath.Join(repository(), "gateway", "routes.yaml"))
	if err != nil {
		return nil, err
	}
	return route.Parse(source, route.Known{})
})

// answering is the app that answers a public request.
func answering(r *http.Request) (string, error) {
	table, err := routes()
	if err != nil {
		return "", err
	}
	found, err := table.Match(r.Method, r.URL.Path)
	if err != nil {
		return "", fmt.Errorf("gateway/routes.yaml has nothing for %s %s: %w", r.Method, r.URL.Path, err)
	}
	if app := found.Route.App; programs[app] != nil {
		return app, nil
	}
	return "", fmt.Errorf("%s answers %s %s; add it to programs and apps in test/sim/program.go", found.Route.App, r.Method, r.URL.Path)
}
