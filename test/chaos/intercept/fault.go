package intercept

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"
)

// Fault is one fault for some calls. It records whether it struck, so that a case whose fault never struck does not
// pass.
type Fault struct {
	interceptor *Interceptor
	match       Match
	action      Action

	skip, times int // guarded by interceptor.mu; times below 0: without end

	caught   chan struct{} // closed by the first call
	released chan struct{}
	once     sync.Once // protects the close of released

	mu      sync.Mutex
	calls   []Call
	replies []Reply
	running int
	changed chan struct{} // closed and replaced when an action ended
}

// Option selects which of the matching calls a fault strikes.
type Option func(*Fault)

// From makes the fault ignore the first n-1 matching calls.
func From(n int) Option { return func(f *Fault) { f.skip = n - 1 } }

// Times makes the fault strike n calls instead of one.
func Times(n int) Option { return func(f *Fault) { f.times = n } }

// Always makes the fault strike until it is lifted.
func Always() Option { return func(f *Fault) { f.times = -1 } }

// Action is what a fault does with a call.
type Action struct {
	// afterEffect: the call passes first, and counts as struck only if it succeeded. A refused call has no effect that
	// could be lost or repeated.
	afterEffect bool
	// do may call forward, which passes the call to the sidecar, any number of times and also later. The program gets
	// the result of do.
	do func(f *Fault, c Call, forward func() Reply) Reply
}

// Kill ends a program like a crash. process is the name of the process.
type Kill func(process string) error

// CrashBefore kills the program before the sidecar gets its call.
func CrashBefore(kill Kill) Action {
	return Action{do: func(_ *Fault, c Call, _ func() Reply) Reply { return crash(kill, c) }}
}

// CrashAfter kills the program when the sidecar has done its work and the program does not know it yet.
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

// Lose lets the sidecar do its work and loses the answer: the connection breaks.
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

// Fail answers with an error. The sidecar gets no call.
func Fail(code codes.Code) Action {
	return Action{do: func(*Fault, Call, func() Reply) Reply { return failed(code) }}
}

// Pass lets the call pass, and only records it.
func Pass() Action { return First(func(Call) {}) }

// First does something before the call passes, as a faster writer would.
func First(do func(Call)) Action {
	return Action{do: func(_ *Fault, c Call, forward func() Reply) Reply {
		do(c)
		return forward()
	}}
}

// Then does what another action does, and then something more before the program gets its answer.
func Then(action Action, do func()) Action {
	return Action{afterEffect: action.afterEffect, do: func(f *Fault, c Call, forward func() Reply) Reply {
		reply := action.do(f, c, forward)
		do()
		return reply
	}}
}

// Hold delays the call until Release, and then lets it pass, even if the program has given up.
func Hold() Action {
	return Action{do: func(f *Fault, _ Call, forward func() Reply) Reply {
		<-f.released
		return forward()
	}}
}

// Detain tells the program at once that the call timed out, and lets the call arrive after Release: a late arrival
// without a wait for the time-out.
func Detain() Action {
	return Action{do: func(f *Fault, _ Call, forward func() Reply) Reply {
		f.later(func() {
			<-f.released
			forward()
		})
		return failed(codes.DeadlineExceeded)
	}}
}

// Repeat sends the call to the sidecar n times, one after the other, and returns the last answer to the program.
func Repeat(n int) Action {
	return Action{afterEffect: true, do: func(_ *Fault, _ Call, forward func() Reply) Reply {
		var reply Reply
		for range n {
			reply = forward()
		}
		return reply
	}}
}

// Multiply sends the call to the sidecar n times at once, and returns the first answer to the program.
func Multiply(n int) Action {
	return Action{do: func(f *Fault, _ Call, forward func() Reply) Reply {
		replies := make(chan Reply, n)
		for range n {
			f.later(func() { replies <- forward() })
		}
		return <-replies
	}}
}

// later runs what the fault does after the program got its answer.
func (f *Fault) later(do func()) {
	f.start(1)
	go func() { // ends at the latest with the call's deadline after Release, which Close calls
		defer f.ended()
		do()
	}()
}

func (f *Fault) start(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running += n
}

// count reports whether the fault strikes this matching call, and records that. The interceptor's mutex is held.
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

// began records a call that the fault strikes.
func (f *Fault) began(c Call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls = append(f.calls, c); len(f.calls) == 1 {
		close(f.caught)
	}
	f.running++
}

// answered records the sidecar's answer to a call that passed.
func (f *Fault) answered(reply Reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replies = append(f.replies, reply)
}

// ended records the end of an action, or of its later part.
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

// Done waits until the fault has struck and all its effects have ended, including late arrivals.
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

// Release lets the calls continue that Hold or Detain keep. Later calls are not kept.
func (f *Fault) Release() { f.once.Do(func() { close(f.released) }) }

// Lift removes the fault. Calls that it keeps stay kept.
func (f *Fault) Lift() { f.interceptor.remove(f) }

// Struck returns the calls that the fault struck.
func (f *Fault) Struck() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Call(nil), f.calls...)
}

// Replies returns the sidecar's answers until now to the calls that the fault let pass.
func (f *Fault) Replies() []Reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Reply(nil), f.replies...)
}

// Reply is the answer to a call, either the sidecar's or a simulated failure.
type Reply struct {
	rpc     *rpcReply
	api     *apiReply
	failure *failure
}

type failure struct {
	code codes.Code
	text string
}

// brokenConnection is the code of a failure without any answer.
const brokenConnection = codes.Code(1000)

func lost() Reply { return Reply{failure: &failure{brokenConnection, "the connection was cut"}} }

func failed(code codes.Code) Reply {
	return Reply{failure: &failure{code, "injected fault: " + code.String()}}
}

// OK reports whether the sidecar did its work.
func (r Reply) OK() bool {
	switch {
	case r.failure != nil:
		return false
	case r.rpc != nil:
		return r.rpc.err == nil
	}
	return r.api != nil && r.api.status < 300
}

// Body is the answer of the called app.
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
