package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"
)

// scheme is that of the targets, and the name of the balancer.
const scheme = "replicas"

// serviceConfig has gRPC balance with replicas, whatever the one who dials prefers.
const serviceConfig = `{"loadBalancingConfig":[{"` + scheme + `":{}}]}`

const (
	lookEvery   = 2 * time.Second        // a replica that was added is called after so long
	lookAgain   = 100 * time.Millisecond // between two looks, however often a connection breaks
	lookTimeout = 2 * time.Second
)

// Register makes the targets known to gRPC. It is called once, when the program starts: gRPC keeps its schemes and
// balancers for the whole process and does not lock them.
func Register(log logger.Logger) {
	resolver.Register(watches{log: log, look: net.DefaultResolver.LookupHost})
	balancer.Register(balancers{log: log})
}

// watches makes the gRPC resolver of each connection.
type watches struct {
	log  logger.Logger
	look func(ctx context.Context, host string) ([]string, error)
}

// Scheme implements resolver.Builder.
func (w watches) Scheme() string { return scheme }

// Build implements resolver.Builder.
func (w watches) Build(target resolver.Target, connection resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	host, port, err := net.SplitHostPort(target.Endpoint())
	if err != nil {
		return nil, fmt.Errorf("the target %s has no host and port: %w", target.Endpoint(), err)
	}
	ctx, stop := context.WithCancel(context.Background())
	one := &watch{watches: w, hosts: strings.Split(host, ","), port: port, connection: connection, stop: stop, now: make(chan struct{}, 1), ended: make(chan struct{})}
	go one.run(ctx)
	return one, nil
}

// watch looks up a name again and again, until the connection is closed.
type watch struct {
	watches
	hosts      []string
	port       string
	connection resolver.ClientConn
	stop       context.CancelFunc
	now        chan struct{}
	ended      chan struct{}
	known      []string // the addresses that the connection knows
}

// ResolveNow implements resolver.Resolver: gRPC calls it when a connection broke.
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
		// Not sooner than this; then when the time has come or a connection broke.
		if !pause(ctx, lookAgain, nil) || !pause(ctx, lookEvery-lookAgain, w.now) {
			return
		}
	}
}

// update tells the connection what the name stands for now. Once there were addresses, a name that is not found changes
// nothing: the connections say which replicas are there.
func (w *watch) update(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var found []string
	var failed error
	for _, host := range w.hosts {
		addresses, err := w.look(bounded, host)
		found, failed = append(found, addresses...), errors.Join(failed, err)
	}
	if len(found) == 0 {
		if w.known == nil && ctx.Err() == nil {
			w.connection.ReportError(fmt.Errorf("looking up %v: %w", w.hosts, errors.Join(errors.New("no addresses"), failed)))
		}
		return
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if slices.Equal(found, w.known) {
		return
	}
	w.log.Infof("The replicas behind %v are %v", w.hosts, found)
	w.known = found
	state := resolver.State{ServiceConfig: w.connection.ParseServiceConfig(serviceConfig)}
	for _, address := range found {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: net.JoinHostPort(address, w.port)})
	}
	_ = w.connection.UpdateState(state) // the balancer takes every list that is not empty
}

// pause waits, or until there is something in early, and reports whether the context is still alive.
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
