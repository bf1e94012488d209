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
	// redial is the pause after a failed attempt to dial a replica. gRPC's own pauses grow to two minutes.
	redial = 500 * time.Millisecond
	// avoided is how long calls avoid a replica after one could not be delivered to it. Then one call tries it again.
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
	turn       atomic.Uint32 // the number of the next replica

	mu        sync.Mutex // gRPC calls one method at a time, but the timers do not wait for it
	closed    bool
	byAddress map[string]*replica
	order     []*replica
}

// replica is one sidecar of the app.
type replica struct {
	address resolver.Address
	log     logger.Logger
	done    func(balancer.DoneInfo) // after a call
	tried   func(balancer.DoneInfo) // after a call while others avoid the replica

	// Guarded by replicas.mu.
	conn   balancer.SubConn
	state  connectivity.State
	failed error       // the last error of dialling; nil after a success
	again  *time.Timer // dials again; nil before the first failure

	avoid atomic.Int64 // until when calls avoid it, in nanoseconds since 1970; 0 if they do not
}

// UpdateClientConnState implements balancer.Balancer. gRPC calls it with the addresses.
func (b *replicas) UpdateClientConnState(s balancer.ClientConnState) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.order = b.order[:0:0] // a copy, because the picker uses the old one
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

// ResolverError implements balancer.Balancer. gRPC calls it when the look-up failed and there are no addresses.
func (b *replicas) ResolverError(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.publish(err)
}

// UpdateSubConnState implements balancer.Balancer. It does nothing, because each connection has its own listener.
func (b *replicas) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

// ExitIdle implements balancer.Balancer. It does nothing, because the balancer is never idle.
func (b *replicas) ExitIdle() {}

// Close implements balancer.Balancer. gRPC itself closes the connections.
func (b *replicas) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, r := range b.byAddress {
		r.rest()
	}
}

// dial begins a new connection to a replica. gRPC's pauses after failures do not apply to a new one.
func (b *replicas) dial(r *replica) {
	var conn balancer.SubConn
	conn, err := b.connection.NewSubConn([]resolver.Address{r.address}, balancer.NewSubConnOptions{
		StateListener: func(s balancer.SubConnState) { b.changed(r, conn, s) },
	})
	if err != nil { // the connection is closing
		r.failed = err
		return
	}
	r.conn, r.state = conn, connectivity.Idle
	conn.Connect()
}

// changed handles a new state of a connection, which gRPC reports.
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
	case r.state == connectivity.Idle: // it broke, or the other side closed it
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

// redial replaces a connection after a failed attempt.
func (b *replicas) redial(r *replica, conn balancer.SubConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || r.conn != conn || b.byAddress[r.address.Addr] != r {
		return
	}
	b.dial(r)
	conn.Shutdown()
}

// publish tells gRPC which replicas may get calls. While none is connected, calls wait if some replica was not tried
// yet. Otherwise they fail at once.
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

// messageUndialled begins the error of a call when no replica could be dialled. The gateway looks for it.
const messageUndialled = "no replica can be reached"

func newReplica(address resolver.Address, log logger.Logger) *replica {
	r := &replica{address: address, log: log}
	r.done, r.tried = r.finished, r.answered // made once, not for each call
	return r
}

// leave closes the connection of a replica that the name no longer has. Calls on it may finish.
func (r *replica) leave() {
	r.rest()
	if r.conn != nil {
		r.conn.Shutdown()
	}
}

// rest stops further attempts to dial.
func (r *replica) rest() {
	if r.again != nil {
		r.again.Stop()
	}
}

// finished handles the result of a call. A success means nothing: the call may have begun before another one failed,
// because a program that stops still answers the calls that it has.
func (r *replica) finished(info balancer.DoneInfo) {
	if info.Err == nil || !undelivered(info.Err) {
		return
	}
	if r.avoid.Swap(time.Now().Add(avoided).UnixNano()) == 0 {
		r.log.Warnf("The replica %s did not deliver a call, others are preferred: %v", r.address.Addr, info.Err)
	}
}

// answered handles the result of a call that began after another failed.
func (r *replica) answered(info balancer.DoneInfo) {
	if info.Err == nil {
		r.avoid.Store(0)
		return
	}
	r.finished(info)
}

// undelivered reports whether an error means that the sidecar or the program behind it is unavailable. Any answer of a
// program, whatever it is, gives no error.
func undelivered(err error) bool {
	switch s := status.Convert(err); s.Code() {
	case codes.Unavailable:
		return true
	case codes.Internal:
		return s.Message() == messages.ErrChannelNotFound || strings.HasPrefix(s.Message(), invokeFailed)
	}
	return false
}

// invokeFailed is the prefix of the error of a sidecar whose program did not answer.
var invokeFailed, _, _ = strings.Cut(messages.ErrChannelInvoke, "%")

// usable reports whether the next call may go to the replica, and returns the function for its result. After a failure
// the replica gets one call at a time.
func (r *replica) usable() (done func(balancer.DoneInfo), ok bool) {
	until := r.avoid.Load()
	if until == 0 {
		return r.done, true
	}
	now := time.Now()
	return r.tried, now.UnixNano() >= until && r.avoid.CompareAndSwap(until, now.Add(avoided).UnixNano())
}

// picker chooses the replica of each call in turn.
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
	r := p.ready[turn%n] // this is better than none
	return balancer.PickResult{SubConn: r.conn, Done: r.tried}, nil
}
