package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/dns"
)

// scheme is the scheme of the targets, and the name of the balancer.
const scheme = "replicas"

// serviceConfig makes gRPC use the balancer replicas, whatever the caller of Dial prefers.
const serviceConfig = `{"loadBalancingConfig":[{"` + scheme + `":{}}]}`

const (
	lookAgain   = 100 * time.Millisecond // between two looks, even if a connection breaks often
	lookTimeout = 4 * time.Second

	// A replica that joins or leaves is noticed after at most this time and the time of one look. Draining outwaits it
	// (dapr/launcher/drain.go).
	everyListed   = 500 * time.Millisecond // in the table
	everyResolved = 2 * time.Second        // in DNS
)

// attempts are how long each question to DNS may wait for an answer before it is repeated. A datagram may be lost. On
// Kubernetes this happens now and then to the questions for IPv4 and IPv6 addresses: they are sent at the same time,
// and the kernel's address translation may drop one. Calls wait for the first look of a sidecar.
var attempts = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}

// Directory resolves the targets of this process.
type Directory struct {
	log    logger.Logger
	prefix string // of targets that are looked up in DNS
	host   func(ctx context.Context, name string) ([]string, error)
	table  atomic.Pointer[table] // of the component sqlite; nil if it is not used
}

// Register registers the targets with gRPC. It is called once, when the program starts, because gRPC keeps its schemes
// and balancers for the whole process without a lock. In Kubernetes mode daprd puts every address into gRPC's scheme
// dns, so there the targets are names of that scheme with a mark.
func Register(log logger.Logger, kubernetes bool) *Directory {
	d := &Directory{log: log, host: net.DefaultResolver.LookupHost, prefix: scheme + ":///"}
	if kubernetes {
		d.prefix = marked
		resolver.Register(marking{Builder: dns.NewBuilder(), directory: d})
	}
	resolver.Register(d)
	balancer.Register(balancers{log: log})
	return d
}

// marked is the prefix of our names in the scheme dns.
const marked = scheme + "/"

// marking is gRPC's scheme dns, except for our names.
type marking struct {
	resolver.Builder
	directory *Directory
}

// Build implements resolver.Builder.
func (m marking) Build(target resolver.Target, connection resolver.ClientConn, options resolver.BuildOptions) (resolver.Resolver, error) {
	name, ours := strings.CutPrefix(target.Endpoint(), marked)
	if !ours {
		return m.Builder.Build(target, connection, options)
	}
	target.URL.Path = "/" + name
	return m.directory.Build(target, connection, options)
}

// Scheme implements resolver.Builder.
func (d *Directory) Scheme() string { return scheme }

// Build implements resolver.Builder. It makes the gRPC resolver of a connection.
func (d *Directory) Build(target resolver.Target, connection resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	w := &watch{log: d.log, name: target.Endpoint(), connection: connection, now: make(chan struct{}, 1), ended: make(chan struct{})}
	if target.URL.Host == inTable {
		w.every, w.look = everyListed, d.listed(w.name)
	} else {
		host, port, err := net.SplitHostPort(w.name)
		if err != nil {
			return nil, fmt.Errorf("the target %s has no host and port: %w", w.name, err)
		}
		w.every, w.look = everyResolved, d.resolved(strings.Split(host, ","), port)
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	go w.run(ctx)
	return w, nil
}

// resolved looks hosts up in DNS.
func (d *Directory) resolved(hosts []string, port string) func(context.Context) ([]string, error) {
	return func(ctx context.Context) (found []string, failed error) {
		for _, host := range hosts {
			addresses, err := d.ask(ctx, host)
			failed = errors.Join(failed, err)
			for _, address := range addresses {
				found = append(found, net.JoinHostPort(address, port))
			}
		}
		return found, failed
	}
}

// ask asks DNS for a name, and repeats the question while there is no answer.
func (d *Directory) ask(ctx context.Context, host string) (addresses []string, err error) {
	for _, limit := range attempts {
		bounded, cancel := context.WithTimeout(ctx, limit)
		addresses, err = d.host(bounded, host)
		unanswered := bounded.Err() != nil
		cancel()
		if err == nil || !unanswered || ctx.Err() != nil {
			break
		}
	}
	return addresses, err
}

// listed looks an app up in the table of the component sqlite.
func (d *Directory) listed(id string) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) { return d.table.Load().addresses(ctx, id) }
}

// watch looks up a name repeatedly until the connection is closed.
type watch struct {
	log        logger.Logger
	name       string
	every      time.Duration // between two looks
	look       func(context.Context) ([]string, error)
	connection resolver.ClientConn
	stop       context.CancelFunc
	now        chan struct{}
	ended      chan struct{}
	known      []string // the addresses that the connection knows
}

// ResolveNow implements resolver.Resolver. gRPC calls it when a connection broke.
func (w *watch) ResolveNow(resolver.ResolveNowOptions) {
	select {
	case w.now <- struct{}{}:
	default:
	}
}

// Close implements resolver.Resolver.
func (w *watch) Close() {
	w.stop()
	<-w.ended
}

func (w *watch) run(ctx context.Context) {
	defer close(w.ended)
	for {
		w.update(ctx)
		// The first pause is the minimum. The second ends when its time is over or a connection broke.
		if !pause(ctx, lookAgain, nil) || !pause(ctx, w.every-lookAgain, w.now) {
			return
		}
	}
}

// update passes the present addresses of the name to the connection. After the first addresses, a name that is not
// found changes nothing, because the connections show which replicas are available.
func (w *watch) update(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	found, err := w.look(bounded)
	if len(found) == 0 {
		if w.known == nil && ctx.Err() == nil {
			w.connection.ReportError(fmt.Errorf("looking up %s: %w", w.name, errors.Join(errNobody, err)))
		}
		return
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if slices.Equal(found, w.known) {
		return
	}
	w.log.Infof("The replicas behind %s are %v", w.name, found)
	w.known = found
	state := resolver.State{ServiceConfig: w.connection.ParseServiceConfig(serviceConfig)}
	for _, address := range found {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	_ = w.connection.UpdateState(state) // the balancer accepts every list that is not empty
}

var errNobody = errors.New("no addresses")

// pause waits for d or for a value in early. It reports whether the context has not ended.
func pause(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-early:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
