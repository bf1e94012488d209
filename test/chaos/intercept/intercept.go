// Package intercept is a proxy between programs and their sidecars. It simulates for chosen calls the faults of a
// network, a crash or a failing store.
//
// A program gets the addresses of a proxy instead of its sidecar's (launcher.Options.Between). Calls pass unchanged
// unless an injected fault matches. Then the fault's action decides whether, when and how often the sidecar gets the
// call, and what the program gets as an answer. Faults match documents, commands and events, so that cases which run at
// the same time do not affect each other.
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

// Kind is the kind of a call to the sidecar.
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
	Target  string   // the called app, or the topic of the events
	Path    string   // of an invocation, such as "/internal/reserve"
	Body    []byte   // what is written, sent or published
	// Values are the documents that are written, by key.
	Values map[string][]byte
}

// String describes the call in a few words.
func (c Call) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %ss %s%s %s", c.Process, c.Kind, c.Target, c.Path, strings.Join(c.Keys, " ")))
}

// Match reports whether a fault is for a call.
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

// Invoking matches calls of an app to a path of another app that contain all of the texts, in the body or the path.
func Invoking(app, target, path string, mention ...string) Match {
	return func(c Call) bool {
		return c.App == app && c.Kind == Invoke && c.Target == target && strings.HasPrefix(c.Path, path) && c.mentions(mention)
	}
}

// Publishing matches publishes of an app that contain all of the texts.
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

// Mentioning limits a match to calls whose body has the text.
func (m Match) Mentioning(text string) Match {
	return func(c Call) bool { return m(c) && bytes.Contains(c.Body, []byte(text)) }
}

// Interceptor has the proxies of one stack and their injected faults. If one call contains several documents, events or
// commands, each is struck by its own fault, and those without a fault pass.
type Interceptor struct {
	mu      sync.Mutex
	faults  []*Fault
	closers []func()
	serving sync.WaitGroup
}

// New returns an Interceptor without proxies or faults.
func New() *Interceptor { return &Interceptor{} }

// Between starts the proxies of one program and its sidecar, for launcher.Options.Between. Calls of the sidecar to its
// program do not go through them.
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

// Close lifts and releases every fault and stops the proxies.
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

// Inject adds a fault for the calls that match. Without options it strikes only the first.
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

// catch returns the fault for a call, if there is one.
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

// take lets a fault strike a call that had its effect, unless it has struck enough others meanwhile.
func (i *Interceptor) take(f *Fault, c Call) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return f.times != 0 && f.count(c)
}

// wanted reports whether there is a fault for a call, without catching the call.
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

// serverOptions allow the largest messages of sidecar clients.
func serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage)}
}

// detached is the context of a call that continues when its program has stopped.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}
