package intercept

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"
)

// Fault is one fault put in the way of calls. It tells whether it was met, so
// that a case whose fault never struck does not pass.
type Fault struct {
	interceptor *Interceptor
	match       Match
	action      Action

	skip, times int // guarded by interceptor.mu; times below 0: without end

	caught   chan struct{} // closed by the first call
	released chan struct{}
	once     sync.Once // of released

	mu      sync.Mutex
	calls   []Call
	replies []Reply
	running int
	changed chan struct{} // closed and replaced when something ended
}

// Option adjusts which of the matching calls a fault strikes.
type Option func(*Fault)

// From has the fault pass the first n-1 matching calls.
func From(n int) Option { return func(f *Fault) { f.skip = n - 1 } }

// Times has the fault strike n calls instead of one.
func Times(n int) Option { return func(f *Fault) { f.times = n } }

// Always has the fault strike until it is lifted.
func Always() Option { return func(f *Fault) { f.times = -1 } }

// Action is what a fault does with a call.
type Action struct {
	// afterEffect: the call passes first, and only one that has succeeded counts as
	// struck: what was refused has left nothing behind to be lost or repeated.
	afterEffect bool
	// do may use forward, which hands the call to the sidecar, any number of times,
	// also later; what it returns is what the program is told.
	do func(f *Fault, c Call, forward func() Reply) Reply
}

// Kill ends a program as a crash would. The name is the process's.
type Kill func(process string) error

// CrashBefore kills the program before the sidecar gets its call.
func CrashBefore(kill Kill) Action {
	return Action{do: func(_ *Fault, c Call, _ func() Reply) Reply { return crash(kill, c) }}
}

// CrashAfter kills the program when the sidecar has done what it was asked and
// the program does not know it yet.
func CrashAfter(kill Kill) Action {
	return Action{afterEffect: true, do: func(_ *Fault, c Call, forward func() Reply) Reply {
		forward()
		return crash(kill, c)
	}}
}

func crash(kill Kill, c Call) Reply {
	if err := kill(c.Process); err != nil {
		return Reply{failure: &failure{codes.Internal, fmt.Sprintf("killing %s: %v", c.Process, err)}}
	}
	return lost()
}

// Lose has the sidecar do what it is asked and loses its answer: the connection
// breaks.
func Lose() Action {
	return Action{afterEffect: true, do: func(_ *Fault, _ Call, forward func() Reply) Reply {
		forward()
		return lost()
	}}
}

// Cut breaks the connection before the sidecar gets the call.
func Cut() Action {
	return Action{do: func(*Fault, Call, func() Reply) Reply { return lost() }}
}

// Fail answers with an error in the sidecar's place, which gets no call.
func Fail(code codes.Code) Action {
	return Action{do: func(*Fault, Call, func() Reply) Reply { return failed(code) }}
}

// Pass lets the call pass, and only notes that it came.
func Pass() Action { return First(func(Call) {}) }

// First does something before the call passes, as a rival that is faster.
func First(do func(Call)) Action {
	return Action{do: func(_ *Fault, c Call, forward func() Reply) Reply {
		do(c)
		return forward()
	}}
}

// Then does what another action does and, before the program is told, something
// more.
func Then(action Action, do func()) Action {
	return Action{afterEffect: action.afterEffect, do: func(f *Fault, c Call, forward func() Reply) Reply {
		reply := action.do(f, c, forward)
		do()
		return reply
	}}
}

// Hold keeps the call back until Release, and then lets it pass, also when the
// program has given it up.
func Hold() Action {
	return Action{do: func(f *Fault, _ Call, forward func() Reply) Reply {
		<-f.released
		return forward()
	}}
}

// Detain tells the program at once that there was no answer in time, and lets
// the call arrive after Release: a late arrival, without the wait for a time-out.
func Detain() Action {
	return Action{do: func(f *Fault, _ Call, forward func() Reply) Reply {
		f.later(func() {
			<-f.released
			forward()
		})
		return failed(codes.DeadlineExceeded)
	}}
}

// Repeat lets the sidecar get the call n times, one after the other, and gives
// the program the last answer.
func Repeat(n int) Action {
	return Action{afterEffect: true, do: func(_ *Fault, _ Call, forward func() Reply) Reply {
		var reply Reply
		for range n {
			reply = forward()
		}
		return reply
	}}
}

// Multiply lets the sidecar get the call n times at once and gives the program
// the first answer.
func Multiply(n int) Action {
	return Action{do: func(f *Fault, _ Call, forward func() Reply) Reply {
		replies := make(chan Reply, n)
		for range n {
			f.later(func() { replies <- forward() })
		}
		return <-replies
	}}
}

// later runs what the fault has to do after the program got its answer.
func (f *Fault) later(do func()) {
	f.start(1)
	go func() { // ends at the latest with the call's deadline after Release, which Close gives
		defer f.ended()
		do()
	}()
}

func (f *Fault) start(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running += n
}

// count reports whether the fault strikes this one of the calls that match, and
// notes it. The interceptor's mutex is held.
func (f *Fault) count(c Call) bool {
	if f.skip > 0 {
		f.skip--
		return false
	}
	if f.times > 0 {
		f.times--
	}
	f.began(c)
	return true
}

// began notes a call that the fault strikes.
func (f *Fault) began(c Call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls = append(f.calls, c); len(f.calls) == 1 {
		close(f.caught)
	}
	f.running++
}

// answered notes what the sidecar answered to a call that was let pass.
func (f *Fault) answered(reply Reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replies = append(f.replies, reply)
}

// ended notes the end of an action, or of what it left for later.
func (f *Fault) ended() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	close(f.changed)
	f.changed = make(chan struct{})
}

// strike runs the action on a call that was caught.
func (f *Fault) strike(c Call, forward func() Reply) Reply {
	if f.action.afterEffect {
		first := forward()
		if !first.OK() || !f.interceptor.take(f, c) {
			return first
		}
		again, used := forward, false
		forward = func() Reply {
			if used {
				return again()
			}
			used = true
			return first
		}
	}
	defer f.ended()
	return f.action.do(f, c, func() Reply {
		reply := forward()
		f.answered(reply)
		return reply
	})
}

// Await waits until the fault has struck its first call.
func (f *Fault) Await(ctx context.Context) error {
	select {
	case <-f.caught:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the fault struck no call: %w", ctx.Err())
	}
}

// Done waits until the fault has struck and all that it does has ended, late
// arrivals included.
func (f *Fault) Done(ctx context.Context) error {
	if err := f.Await(ctx); err != nil {
		return err
	}
	for {
		f.mu.Lock()
		running, changed := f.running, f.changed
		f.mu.Unlock()
		if running == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d calls of the fault are under way: %w", running, ctx.Err())
		}
	}
}

// Release lets the calls go that Hold or Detain keep; later ones are
// not kept.
func (f *Fault) Release() { f.once.Do(func() { close(f.released) }) }

// Lift takes the fault out of the way. Calls that it keeps stay kept.
func (f *Fault) Lift() { f.interceptor.remove(f) }

// Struck are the calls that the fault has met.
func (f *Fault) Struck() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Call(nil), f.calls...)
}

// Replies are what the sidecar has answered so far to the calls that the fault
// has let pass.
func (f *Fault) Replies() []Reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Reply(nil), f.replies...)
}

// Reply is the answer to a call: the sidecar's, or a failure made up here.
type Reply struct {
	rpc     *rpcReply
	api     *apiReply
	failure *failure
}

type failure struct {
	code codes.Code
	text string
}

// brokenConnection is the code of a failure in which nothing is answered at all.
const brokenConnection = codes.Code(1000)

func lost() Reply { return Reply{failure: &failure{brokenConnection, "the connection was cut"}} }

func failed(code codes.Code) Reply {
	return Reply{failure: &failure{code, "injected fault: " + code.String()}}
}

// OK reports whether the sidecar has done what it was asked.
func (r Reply) OK() bool {
	switch {
	case r.failure != nil:
		return false
	case r.rpc != nil:
		return r.rpc.err == nil
	}
	return r.api != nil && r.api.status < 300
}

// Body is the answer of an invoked app.
func (r Reply) Body() []byte {
	if r.api == nil {
		return nil
	}
	return r.api.body
}

// String says how the call ended.
func (r Reply) String() string {
	switch {
	case r.failure != nil:
		return r.failure.text
	case r.rpc != nil:
		return fmt.Sprintf("rpc answered (%v)", r.rpc.err)
	case r.api != nil:
		return fmt.Sprintf("%d %.200s", r.api.status, r.api.body)
	}
	return "nothing"
}
