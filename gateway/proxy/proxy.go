// Package proxy forwards a request that the edge has admitted to the service that answers it, through the gateway's
// Dapr sidecar. It builds a new request from the route and the allow-lists. It does not copy the client's request and
// remove things from it: Dapr chooses the target of an invocation from headers before it looks at the URL, so one
// header too many could reach any app.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"caravan/gateway/route"
	"caravan/internal/problem"
)

const (
	slugUnavailable = "service-unavailable"
	retryAfter      = 2 * time.Second // the client's wait when nothing better is known
	maxErrorBody    = 8 << 10         // how much of an error that is not from a service is read for the log
	copyBuffer      = 32 << 10
)

// ErrCallerLeft means that the client left before the answer, so nobody receives one.
var ErrCallerLeft = errors.New("the caller went away")

// Settings of a Forwarder.
type Settings struct {
	Sidecar   *url.URL // base URL of the sidecar's HTTP API
	Token     string   // DAPR_API_TOKEN, sent to the sidecar
	Transport http.RoundTripper
	Breakers  *Breakers
	Repeated  Repeated // may be nil
}

// Forwarder forwards requests to services. It is safe for concurrent use.
type Forwarder struct {
	sidecar         *url.URL
	token           string
	transport       http.RoundTripper
	breakers        *Breakers
	repeated        Repeated
	prefixes        map[string]string // /v1.0/invoke/<app>/method by app
	requestHeaders  []allowed
	responseHeaders []string
	buffers         sync.Pool
}

// New returns a forwarder to the apps that have a breaker.
func New(s Settings) *Forwarder {
	f := &Forwarder{
		sidecar: s.Sidecar, token: s.Token, transport: s.Transport, breakers: s.Breakers, repeated: s.Repeated,
		prefixes:       make(map[string]string),
		requestHeaders: requestHeaders(), responseHeaders: responseHeaders(),
	}
	f.buffers.New = func() any { b := make([]byte, copyBuffer); return &b }
	for app := range s.Breakers.byApp {
		f.prefixes[app] = "/v1.0/invoke/" + app + "/method"
	}
	return f
}

// NewTransport returns the one transport to the sidecar. All traffic goes to a single host. By default net/http keeps
// two idle connections per host, so under load nearly every request would need a new connection.
func NewTransport(dial time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: dial, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		MaxIdleConns:           512,
		MaxIdleConnsPerHost:    512,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true, // bodies are not changed
		MaxResponseHeaderBytes: 64 << 10,
		ExpectContinueTimeout:  time.Second,
	}
}

// Call is what the edge has decided about a request.
type Call struct {
	Match      route.Match
	Query      string // as the client wrote it, checked by route.SplitTarget
	Client     string // the client's address
	Authorized bool   // the bearer token was verified and is forwarded
	Timeout    time.Duration
	Wait       time.Duration // the part of Timeout that a long poll may wait
}

// Forward calls the service and passes its answer on. After an error nothing has been written yet; the error is
// ErrCallerLeft or contains the problem to answer with. If the answer breaks off, Forward panics with
// http.ErrAbortHandler, so that the client sees a broken answer instead of a short one.
func (f *Forwarder) Forward(w http.ResponseWriter, r *http.Request, c *Call) error {
	ctx, cancel := c.limit(r.Context())
	defer cancel()
	body, err := f.body(ctx, w, r, c.Match.Route)
	if err != nil {
		return err
	}
	if body != nil {
		// The transport may still read the body after its return, but after the handler nobody may (golang/go#46866).
		defer body.Close()
	}
	out, err := f.request(ctx, r, c, body)
	if err != nil {
		return err
	}
	var response *http.Response
	switch {
	case c.Wait > 0 && c.Match.Route.Retry == route.RetrySafe:
		response, err = f.await(r, out, c)
	case c.Match.Route.Stream:
		response, err = f.begin(r, out, c, cancel)
	default:
		if c.Wait > 0 && f.breakers.probing(c.Match.Route.App) {
			out = again(out, c, 0) // a probe that waits would keep the breaker from closing
		}
		response, err = f.ask(r, out, c, body, false)
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	f.deliver(w, r, response)
	return nil
}

// limit limits the time of a call. Of a stream only the beginning is limited, see begin.
func (c *Call) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Match.Route.Stream {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.Timeout)
}

// begin calls the service for a stream. The call has to be answered within its timeout, and then goes on without one.
func (f *Forwarder) begin(r, out *http.Request, c *Call, cancel context.CancelFunc) (*http.Response, error) {
	late := time.AfterFunc(c.Timeout, cancel)
	defer late.Stop()
	return f.ask(r, out, c, nil, false)
}

// ask calls the service and reports the result to its breaker: one outcome per call, even if the call was sent twice.
// If a later try of a long poll fails, that is not counted, because it is the same failure as the first. An error
// contains the problem to answer with.
func (f *Forwarder) ask(r, out *http.Request, c *Call, body *limitedBody, later bool) (*http.Response, error) {
	done, err := f.breakers.allow(c.Match.Route.App)
	if err != nil {
		return nil, err
	}
	a := f.exchange(out, c, body)
	var outcome error
	switch {
	case a.err != nil:
		outcome, err = classify(r, out.Context(), body, a.err)
	case a.foreign:
		outcome, err = a.translate()
	default:
		outcome = failure(a.response)
	}
	if later && outcome != nil {
		outcome = errExcluded
	}
	done(outcome)
	return a.response, err
}

// body returns the request's body. It is nil if the route has none or none was sent.
func (f *Forwarder) body(ctx context.Context, w http.ResponseWriter, r *http.Request, route *route.Route) (*limitedBody, error) {
	if r.ContentLength == 0 || route.Body == 0 {
		return nil, nil
	}
	if r.ContentLength > route.Body {
		return nil, problem.TooLarge(route.Body)
	}
	deadline, _ := ctx.Deadline()
	return newLimitedBody(w, r, route.Body, deadline), nil
}

func (f *Forwarder) request(ctx context.Context, r *http.Request, c *Call, body *limitedBody) (*http.Request, error) {
	header := make(http.Header, 12)
	if err := f.forward(header, r.Header, body != nil, c.Match.Route.Stream); err != nil {
		return nil, err
	}
	f.identify(header, r, c, body != nil)
	out := &http.Request{
		Method: c.Match.Route.Method,
		URL: &url.URL{
			Scheme: f.sidecar.Scheme, Host: f.sidecar.Host,
			Path: c.Match.Target(f.prefixes[c.Match.Route.App]), RawQuery: c.Query,
		},
		Host:  f.sidecar.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header,
	}
	if body != nil {
		out.Body, out.ContentLength = body, r.ContentLength
	}
	return out.WithContext(ctx), nil
}

// classify decides what a failed exchange means for the breaker, and what the client gets as an answer.
func classify(r *http.Request, ctx context.Context, body *limitedBody, err error) (outcome, refusal error) {
	if refusal := body.refusal(); refusal != nil { // the client's own fault comes first
		return errExcluded, refusal
	}
	switch {
	case r.Context().Err() != nil, body != nil && body.left.Load():
		return errExcluded, fmt.Errorf("%w: %w", ErrCallerLeft, err)
	case ctx.Err() != nil && body != nil && body.slowedByClient():
		return errExcluded, errLate
	case ctx.Err() != nil:
		return errFailed, unavailable("The service did not answer in time.", err)
	}
	return errFailed, unavailable("The service can not be reached at the moment.", err)
}

// failure is the outcome of an answered call. If the service shed a request, that says nothing about the next one: many
// logins, which are expensive, must not block the service for all others.
func failure(response *http.Response) error {
	if response.Header.Get(problem.ShedHeader) != "" {
		return errExcluded
	}
	switch response.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return errFailed
	}
	return nil
}

// foreign reports whether an answer is not from a service. Services answer every error with a problem, or a wrong link with a
// page for people; daprd answers application/json with an errorCode, or plain text. Services answer a success without content with 204; daprd 1.18.1
// answers some calls of an app that is down, 5 of 18,000 in a test, with an empty 200.
func foreign(response *http.Response) bool {
	if response.StatusCode == http.StatusOK && response.ContentLength == 0 && response.Request.Method != http.MethodHead {
		return true
	}
	if response.StatusCode < 300 {
		return false
	}
	if response.StatusCode == http.StatusNotModified {
		return false
	}
	media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	page := media == "text/html" && response.StatusCode >= 400 && response.StatusCode < 500
	return err != nil || media != problem.ContentType && !page
}

// translate turns an answer that is not from a service into a problem. That is a 503, and a failure for the breaker,
// unless the sidecar refused the form of this request, which its client can change. The sidecar's text has apps,
// addresses and numbers of tries, so it goes to the log only.
func (a answer) translate() (outcome, refusal error) {
	switch a.response.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		return errExcluded, &failedCall{problem: problem.Malformed("The request or its headers are too large."), cause: a.cause()}
	}
	return errFailed, unavailable("The service can not be reached at the moment.", a.cause())
}

// deliver writes the answer.
func (f *Forwarder) deliver(w http.ResponseWriter, r *http.Request, response *http.Response) {
	header := w.Header()
	f.answer(header, response.Header)
	if response.ContentLength >= 0 && response.StatusCode != http.StatusNotModified && response.StatusCode != http.StatusNoContent {
		header["Content-Length"] = []string{strconv.FormatInt(response.ContentLength, 10)}
	}
	w.WriteHeader(response.StatusCode)
	if response.ContentLength == 0 {
		return
	}
	var to io.Writer = bare{w}
	stream := false
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		to, stream = flushing{w: w, controller: http.NewResponseController(w)}, true
	}
	buffer := f.buffers.Get().(*[]byte)
	defer f.buffers.Put(buffer)
	_, err := io.CopyBuffer(to, response.Body, *buffer)
	if err == nil || r.Method == http.MethodHead || stream && r.Context().Err() != nil {
		return // a stream that the gateway ends is complete: its client connects again
	}
	panic(http.ErrAbortHandler)
}

// slowReader is how long a client may take to receive a part of an event stream.
const slowReader = 10 * time.Second

// bare hides everything but Write, so that io.CopyBuffer uses its buffer.
type bare struct{ io.Writer }

// flushing sends each part of an event stream at once.
type flushing struct {
	w          io.Writer
	controller *http.ResponseController
}

// Write writes and flushes.
func (f flushing) Write(p []byte) (int, error) {
	_ = f.controller.SetWriteDeadline(time.Now().Add(slowReader)) // not every writer has deadlines, for example in tests
	n, err := f.w.Write(p)
	if err == nil {
		err = f.controller.Flush()
	}
	return n, err
}

// failedCall is a call without a usable answer. It has a problem for the client and the cause for the log.
type failedCall struct {
	problem *problem.Problem
	cause   error
}

func unavailable(detail string, cause error) error {
	return &failedCall{problem: problem.Unavailable(slugUnavailable, detail, retryAfter), cause: cause}
}

// Error describes the failure.
func (e *failedCall) Error() string { return "forwarding a request: " + e.cause.Error() }

// Unwrap returns the cause.
func (e *failedCall) Unwrap() error { return e.cause }

// Problem is the answer to the client.
func (e *failedCall) Problem() *problem.Problem { return e.problem }
