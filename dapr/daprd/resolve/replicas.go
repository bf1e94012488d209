package resolve

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dapr/dapr/pkg/messages"
	"github.com/dapr/kit/logger"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
)

const (
	// redial is how long after a failed attempt a replica is dialled again. gRPC's own pauses grow to two minutes.
	redial = 500 * time.Millisecond
	// avoided is how long calls go to other replicas after one could not be delivered; then one call tries again.
	avoided = time.Second
)

// balancers makes the balancer of each connection.
type balancers struct{ log logger.Logger }

// Name implements balancer.Builder.
func (b balancers) Name() string { return scheme }

// Build implements balancer.Builder.
func (b balancers) Build(connection balancer.ClientConn, _ balancer.BuildOptions) balancer.Balancer {
	return &replicas{log: b.log, connection: connection, byAddress: make(map[string]*replica)}
}

// replicas keeps a connection to each replica of an app.
type replicas struct {
	log        logger.Logger
	connection balancer.ClientConn
	turn       atomic.Uint32 // whose turn it is

	mu        sync.Mutex // gRPC calls one method at a time; the timers do not wait for it
	closed    bool
	byAddress map[string]*replica
	order     []*replica
}

// replica is one sidecar of the app.
type replica struct {
	address resolver.Address
	log     logger.Logger
	done    func(balancer.DoneInfo) // of a call
	tried   func(balancer.DoneInfo) // of a call while calls go elsewhere

	// Guarded by replicas.mu.
	conn   balancer.SubConn
	state  connectivity.State
	failed error       // why it could not be dialled last; nil once it could
	again  *time.Timer // dials again; nil before the first failure

	avoid atomic.Int64 // until when calls go elsewhere, in nanoseconds since 1970; 0 if they do not
}

// UpdateClientConnState implements balancer.Balancer: these are the addresses.
func (b *replicas) UpdateClientConnState(s balancer.ClientConnState) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.order = b.order[:0:0] // the picker has the old one
	found := make(map[string]bool, len(s.ResolverState.Addresses))
	for _, address := range s.ResolverState.Addresses {
		r := b.byAddress[address.Addr]
		if r == nil {
			r = newReplica(address, b.log)
			b.byAddress[address.Addr] = r
			b.dial(r)
		}
		found[address.Addr] = true
		b.order = append(b.order, r)
	}
	for addr, r := range b.byAddress {
		if !found[addr] {
			delete(b.byAddress, addr)
			r.leave()
		}
	}
	b.publish(nil)
	return nil
}

// ResolverError implements balancer.Balancer: the name could not be looked up, and there are no addresses.
func (b *replicas) ResolverError(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.publish(err)
}

// UpdateSubConnState implements balancer.Balancer. Each connection has a listener of its own.
func (b *replicas) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

// ExitIdle implements balancer.Balancer. It is never idle.
func (b *replicas) ExitIdle() {}

// Close implements balancer.Balancer. gRPC closes the connections.
func (b *replicas) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, r := range b.byAddress {
		r.rest()
	}
}

// dial begins a connection to a replica. A fresh one forgets the pauses that gRPC makes after failures.
func (b *replicas) dial(r *replica) {
	var conn balancer.SubConn
	conn, err := b.connection.NewSubConn([]resolver.Address{r.address}, balancer.NewSubConnOptions{
		StateListener: func(s balancer.SubConnState) { b.changed(r, conn, s) },
	})
	if err != nil { // the connection is being closed
		r.failed = err
		return
	}
	r.conn, r.state = conn, connectivity.Idle
	conn.Connect()
}

// changed is what gRPC says about a connection.
func (b *replicas) changed(r *replica, conn balancer.SubConn, s balancer.SubConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || r.conn != conn || b.byAddress[r.address.Addr] != r {
		return
	}
	was := r.state
	r.state = s.ConnectivityState
	switch {
	case r.state == connectivity.Ready:
		r.failed = nil
	case r.state == connectivity.Idle: // it broke, or the other side said goodbye
		conn.Connect()
	case r.state == connectivity.TransientFailure:
		if r.failed == nil {
			b.log.Warnf("The replica %s can not be reached: %v", r.address.Addr, s.ConnectionError)
		}
		r.failed = s.ConnectionError
		r.rest()
		r.again = time.AfterFunc(redial, func() { b.redial(r, conn) })
	}
	if was == connectivity.Ready || r.failed != nil {
		b.connection.ResolveNow(resolver.ResolveNowOptions{})
	}
	b.publish(nil)
}

// redial replaces a connection that could not be made.
func (b *replicas) redial(r *replica, conn balancer.SubConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || r.conn != conn || b.byAddress[r.address.Addr] != r {
		return
	}
	b.dial(r)
	conn.Shutdown()
}

// publish tells gRPC which replicas calls may go to. While none is connected, calls wait as long as there is one that was
// not tried yet, and fail at once otherwise.
func (b *replicas) publish(lookup error) {
	var ready []connected
	var failures []error
	for _, r := range b.order {
		switch {
		case r.state == connectivity.Ready:
			ready = append(ready, connected{replica: r, conn: r.conn})
		case r.failed != nil:
			failures = append(failures, r.failed)
		}
	}
	switch {
	case len(ready) > 0:
		b.connection.UpdateState(balancer.State{ConnectivityState: connectivity.Ready, Picker: &picker{turn: &b.turn, ready: ready}})
	case len(failures) < len(b.order):
		b.connection.UpdateState(balancer.State{ConnectivityState: connectivity.Connecting, Picker: base.NewErrPicker(balancer.ErrNoSubConnAvailable)})
	default:
		err := status.Error(codes.Unavailable, fmt.Sprintf("%s: %v", messageUndialled, errors.Join(append(failures, lookup)...)))
		b.connection.UpdateState(balancer.State{ConnectivityState: connectivity.TransientFailure, Picker: base.NewErrPicker(err)})
	}
}

// messageUndialled begins the error of a call that was not sent, as no replica could be connected to. The gateway knows it.
const messageUndialled = "no replica can be reached"

func newReplica(address resolver.Address, log logger.Logger) *replica {
	r := &replica{address: address, log: log}
	r.done, r.tried = r.finished, r.answered // once, and not for each call
	return r
}

// leave ends the connection of a replica that the name no longer gives. Calls on it may finish.
func (r *replica) leave() {
	r.rest()
	if r.conn != nil {
		r.conn.Shutdown()
	}
}

// rest gives up dialling again.
func (r *replica) rest() {
	if r.again != nil {
		r.again.Stop()
	}
}

// finished is what became of a call. That it succeeded says nothing: it may have begun before another failed, as a program
// that stops still answers what it has.
func (r *replica) finished(info balancer.DoneInfo) {
	if info.Err == nil || !undelivered(info.Err) {
		return
	}
	if r.avoid.Swap(time.Now().Add(avoided).UnixNano()) == 0 {
		r.log.Warnf("The replica %s did not deliver a call, others are preferred: %v", r.address.Addr, info.Err)
	}
}

// answered is what became of a call that began after another failed.
func (r *replica) answered(info balancer.DoneInfo) {
	if info.Err == nil {
		r.avoid.Store(0)
		return
	}
	r.finished(info)
}

// undelivered reports whether an error says that the sidecar or the program behind it is not there. A program that answers,
// whatever it answers, gives no error.
func undelivered(err error) bool {
	switch s := status.Convert(err); s.Code() {
	case codes.Unavailable:
		return true
	case codes.Internal:
		return s.Message() == messages.ErrChannelNotFound || strings.HasPrefix(s.Message(), invokeFailed)
	}
	return false
}

// invokeFailed begins the error of a sidecar whose program did not answer.
var invokeFailed, _, _ = strings.Cut(messages.ErrChannelInvoke, "%")

// usable reports whether the next call may go to the replica, and whom to tell what became of it. After a failure that is one
// call at a time.
func (r *replica) usable() (done func(balancer.DoneInfo), ok bool) {
	until := r.avoid.Load()
	if until == 0 {
		return r.done, true
	}
	now := time.Now()
	return r.tried, now.UnixNano() >= until && r.avoid.CompareAndSwap(until, now.Add(avoided).UnixNano())
}

// picker chooses the replica of each call: one after the other.
type picker struct {
	turn  *atomic.Uint32
	ready []connected
}

// connected is a replica with the connection that it had when the picker was made.
type connected struct {
	*replica
	conn balancer.SubConn
}

// Pick implements balancer.Picker.
func (p *picker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	turn, n := p.turn.Add(1), uint32(len(p.ready))
	for i := range n {
		r := p.ready[(turn+i)%n]
		if done, ok := r.usable(); ok {
			return balancer.PickResult{SubConn: r.conn, Done: done}, nil
		}
	}
	r := p.ready[turn%n] // better than none
	return balancer.PickResult{SubConn: r.conn, Done: r.tried}, nil
}
