// Package intercept stands between programs and their sidecars and does to
// chosen calls what a network, a crash or a store in trouble would do to them.
//
// A program is given the addresses of a proxy instead of its sidecar's
// (launcher.Options.Between). Calls pass through as they are unless a fault that
// a test has injected matches: then the fault's action decides whether and when
// the sidecar gets the call, how often, and what the program is told. Faults
// match on documents, commands and events, so that cases which run at the same
// time do not meet.
package intercept

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"caravan/dapr/launcher"

	"google.golang.org/grpc"
)

// Kind is what a call asks of the sidecar.
type Kind string

// The kinds of calls that faults can match; all others pass.
const (
	Read    Kind = "read"    // documents
	Write   Kind = "write"   // documents
	Invoke  Kind = "invoke"  // a path of another app
	Publish Kind = "publish" // events
)

// Call is one call of a program to its sidecar.
type Call struct {
	Process string // the program, as "orders-2"
	App     string // its app id, as "orders"
	Kind    Kind
	Keys    []string // of the documents that are read or written
	Target  string   // the app invoked, or the topic published to
	Path    string   // invoked, as "/internal/reserve"
	Body    []byte   // what is written, sent or published
	// Values are the documents that are written, by key.
	Values map[string][]byte
}

// String says what the call is in a few words.
func (c Call) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %ss %s%s %s", c.Process, c.Kind, c.Target, c.Path, strings.Join(c.Keys, " ")))
}

// Match tells whether a fault is meant for a call.
type Match func(Call) bool

// Writing matches writes of a document by an app.
func Writing(app, key string) Match {
	return func(c Call) bool { return c.App == app && c.Kind == Write && slices.Contains(c.Keys, key) }
}

// Reading matches reads of a document by an app.
func Reading(app, key string) Match {
	return func(c Call) bool { return c.App == app && c.Kind == Read && slices.Contains(c.Keys, key) }
}

// Using matches reads and writes of a document by an app.
func Using(app, key string) Match { return Either(Reading(app, key), Writing(app, key)) }

// Invoking matches calls of an app to a path of another that mention all of the
// texts, in the body or the path.
func Invoking(app, target, path string, mention ...string) Match {
	return func(c Call) bool {
		return c.App == app && c.Kind == Invoke && c.Target == target && strings.HasPrefix(c.Path, path) && c.mentions(mention)
	}
}

// Publishing matches publications of an app that mention all of the texts.
func Publishing(app, topic string, mention ...string) Match {
	return func(c Call) bool {
		return c.App == app && c.Kind == Publish && c.Target == topic && c.mentions(mention)
	}
}

func (c Call) mentions(texts []string) bool {
	return !slices.ContainsFunc(texts, func(text string) bool {
		return !bytes.Contains(c.Body, []byte(text)) && !strings.Contains(c.Path, text)
	})
}

// Either matches what any of them matches.
func Either(matches ...Match) Match {
	return func(c Call) bool { return slices.ContainsFunc(matches, func(m Match) bool { return m(c) }) }
}

// Mentioning narrows a match to calls whose body has the text.
func (m Match) Mentioning(text string) Match {
	return func(c Call) bool { return m(c) && bytes.Contains(c.Body, []byte(text)) }
}

// Interceptor holds the proxies of one stack and the faults injected into them.
// Documents, events and commands that travel in one call are struck each by its
// own fault; what no fault is meant for passes beside them.
type Interceptor struct {
	mu      sync.Mutex
	faults  []*Fault
	closers []func()
	serving sync.WaitGroup
}

// New returns an Interceptor without proxies or faults.
func New() *Interceptor { return &Interceptor{} }

// Between starts the proxies of one program and its sidecar; it is made for
// launcher.Options.Between. What the sidecar delivers to its program passes
// beside them.
func (i *Interceptor) Between(link launcher.Link) (launcher.Link, error) {
	apis, err := listen()
	if err != nil {
		return link, err
	}
	rpcs, err := listen()
	if err != nil {
		return link, errors.Join(err, apis.Close())
	}
	rpc, err := newRPCProxy(i, link)
	if err != nil {
		return link, errors.Join(err, apis.Close(), rpcs.Close())
	}
	api := &http.Server{Handler: newAPIProxy(i, link), ReadHeaderTimeout: 10 * time.Second}
	i.mu.Lock()
	i.closers = append(i.closers, func() { _ = api.Close() }, rpc.close)
	i.mu.Unlock()
	i.serving.Go(func() { _ = api.Serve(apis) }) // ends with Close
	i.serving.Go(func() { _ = rpc.server.Serve(rpcs) })
	link.HTTPPort, link.GRPCPort = port(apis), port(rpcs)
	return link, nil
}

func listen() (net.Listener, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for a program: %w", err)
	}
	return listener, nil
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// Close lifts and releases every fault and ends the proxies.
func (i *Interceptor) Close() {
	i.mu.Lock()
	faults, closers := i.faults, i.closers
	i.faults, i.closers = nil, nil
	i.mu.Unlock()
	for _, f := range faults {
		f.Release()
	}
	for _, end := range closers {
		end()
	}
	i.serving.Wait()
}

// Inject puts a fault in the way of the calls that match: of the first, unless
// told otherwise.
func (i *Interceptor) Inject(match Match, action Action, options ...Option) *Fault {
	f := &Fault{
		interceptor: i, match: match, action: action, times: 1,
		caught: make(chan struct{}), released: make(chan struct{}), changed: make(chan struct{}),
	}
	for _, option := range options {
		option(f)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = append(i.faults, f)
	return f
}

// catch returns the fault that is meant for a call, if there is one.
func (i *Interceptor) catch(c Call) *Fault {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, f := range i.faults {
		if f.times != 0 && f.match(c) && (f.action.afterEffect || f.count(c)) {
			return f
		}
	}
	return nil
}

// take has a fault strike a call that has had its effect, unless others were
// faster.
func (i *Interceptor) take(f *Fault, c Call) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return f.times != 0 && f.count(c)
}

// wanted reports whether a fault would be meant for a call, without catching it.
func (i *Interceptor) wanted(c Call) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.ContainsFunc(i.faults, func(f *Fault) bool { return f.times != 0 && f.match(c) })
}

func (i *Interceptor) remove(f *Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = slices.DeleteFunc(i.faults, func(other *Fault) bool { return other == f })
}

// serverOptions let the largest messages of sidecar clients pass.
func serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage)}
}

// detached is the context of a call that outlives the program that made it.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}
