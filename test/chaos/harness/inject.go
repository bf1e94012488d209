package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/process"
	"caravan/internal/clock"
)

// Fired is a fault that was injected.
type Fired struct {
	Event
	Label  string    `json:"label"`
	Begun  time.Time `json:"begun"`
	Healed time.Time `json:"healed"`
	// Ready is how long a process needed to be ready after a kill or restart, in seconds.
	Ready float64 `json:"ready,omitempty"`
	Error string  `json:"error,omitempty"`
}

// injector injects the faults of a schedule.
type injector struct {
	stack *launcher.Stack
	say   func(format string, args ...any)

	mu    sync.Mutex
	fired []Fired
	busy  map[string]*sync.Mutex // one fault at a time for each target
}

func newInjector(stack *launcher.Stack, say func(string, ...any)) *injector {
	return &injector{stack: stack, say: say, busy: make(map[string]*sync.Mutex)}
}

// run injects each fault at its time, and returns when all have ended. When the context ends, it ends the present
// faults at once and begins no others.
func (in *injector) run(ctx context.Context, schedule []Event) {
	began := time.Now()
	var faults sync.WaitGroup
	defer faults.Wait()
	for _, event := range schedule {
		if !pause(ctx, time.Until(began.Add(event.At))) {
			return
		}
		faults.Go(func() { in.inject(ctx, event) })
	}
}

// pause waits and reports whether the context has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	return (clock.System{}).Sleep(ctx, d) == nil
}

// inject begins one fault, waits, and ends it.
func (in *injector) inject(ctx context.Context, event Event) {
	release := in.claim(event.Targets)
	fired := Fired{Event: event, Label: event.String(), Begun: time.Now()}
	_ = in.stack.Remark("fault "+fired.Label, "fault", event.Number, "kind", string(event.Kind), "targets", event.Targets)
	heal, err := in.begin(ctx, event)
	if err == nil {
		pause(ctx, event.Hold)
	}
	if heal != nil {
		healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		err = errors.Join(err, heal(healing))
		cancel()
	}
	fired.Healed = time.Now()
	release()
	if err != nil {
		fired.Error = err.Error()
	}
	_ = in.stack.Remark("healed "+fired.Label, "fault", event.Number, "error", fired.Error)
	if event.Kills() > 0 || event.Kind == Restart {
		in.awaitReady(ctx, &fired)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.fired = append(in.fired, fired)
}

// claim waits until no other fault has any of the targets.
func (in *injector) claim(targets []string) (release func()) {
	var locks []*sync.Mutex
	for _, target := range slices.Sorted(slices.Values(targets)) { // a fixed order prevents deadlocks
		in.mu.Lock()
		lock := in.busy[target]
		if lock == nil {
			lock = new(sync.Mutex)
			in.busy[target] = lock
		}
		in.mu.Unlock()
		lock.Lock()
		locks = append(locks, lock)
	}
	return func() {
		for _, lock := range locks {
			lock.Unlock()
		}
	}
}

// awaitReady measures how long a killed process needs to be ready, unless it takes very long or the run ends.
func (in *injector) awaitReady(ctx context.Context, fired *Fired) {
	waiting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, target := range fired.Targets {
		if in.stack.AwaitProcess(waiting, target) != nil {
			return
		}
	}
	fired.Ready = time.Since(fired.Healed).Seconds()
}

// begin begins a fault and returns the function that ends it.
func (in *injector) begin(ctx context.Context, event Event) (heal func(context.Context) error, err error) {
	switch event.Kind {
	case Kill, Pair, All:
		return in.kill(ctx, event.Targets)
	case Freeze:
		return in.freeze(event.Targets[0])
	case Restart:
		return nil, in.stack.Restart(ctx, event.Targets[0])
	case Memory:
		return in.breakBroker(ctx, launcher.MemoryAlarm)
	case DiskAlarm:
		return in.breakBroker(ctx, launcher.DiskAlarm)
	case StopApp:
		return in.breakBroker(ctx, launcher.AppStopped)
	case Disconnect:
		return in.breakBroker(ctx, launcher.Disconnected)
	case FullDisk:
		return ignoring(in.stack.FillDisk())
	case Cut, Slow, Hang, Truncate:
		return ignoring(in.stack.BreakConnection(event.Targets[0], connectionFault(event)))
	}
	return nil, fmt.Errorf("%w: %q", launcher.ErrNoFault, event.Kind)
}

// breakBroker breaks a running broker. A broker that was just killed does not yet answer its own tools.
func (in *injector) breakBroker(ctx context.Context, fault launcher.BrokerFault) (func(context.Context) error, error) {
	waiting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := in.stack.AwaitProcess(waiting, "broker"); err != nil {
		return nil, fmt.Errorf("waiting for the broker: %w", err)
	}
	return in.stack.BreakBroker(ctx, fault)
}

// ignoring adds a context parameter to a heal function that needs none.
func ignoring(heal func() error, err error) (func(context.Context) error, error) {
	if heal == nil {
		return nil, err
	}
	return func(context.Context) error { return heal() }, err
}

func connectionFault(event Event) launcher.ConnectionFault {
	switch event.Kind {
	case Slow:
		return launcher.ConnectionFault{Toxic: "latency", Attributes: map[string]any{"latency": event.Amount, "jitter": event.Amount / 4}}
	case Hang:
		return launcher.ConnectionFault{Toxic: "timeout", Attributes: map[string]any{"timeout": event.Hold.Milliseconds()}}
	case Truncate:
		return launcher.ConnectionFault{Toxic: "limit_data", Attributes: map[string]any{"bytes": event.Amount}}
	}
	return launcher.ConnectionFault{}
}

func (in *injector) kill(ctx context.Context, targets []string) (func(context.Context) error, error) {
	errs := make([]error, len(targets))
	var wait sync.WaitGroup
	for i, target := range targets {
		wait.Go(func() { errs[i] = in.stack.Crash(ctx, target) })
	}
	wait.Wait()
	return func(context.Context) error {
		var errs []error
		for _, target := range targets {
			errs = append(errs, in.stack.Raise(target))
		}
		return errors.Join(errs...)
	}, errors.Join(errs...)
}

func (in *injector) freeze(target string) (func(context.Context) error, error) {
	if err := in.stack.Kill(target, syscall.SIGSTOP); err != nil && !errors.Is(err, process.ErrNotRunning) {
		return nil, err
	}
	return func(context.Context) error {
		err := in.stack.Kill(target, syscall.SIGCONT)
		if errors.Is(err, process.ErrNotRunning) {
			return nil // another one has repaired it
		}
		return err
	}, nil
}

// roll restarts an app's replica in an orderly way, program and sidecar, as a deployment does.
func (in *injector) roll(ctx context.Context, event Event) {
	release := in.claim(event.Targets)
	defer release()
	fired := Fired{Event: event, Label: event.String(), Begun: time.Now()}
	_ = in.stack.Remark("fault "+fired.Label, "fault", event.Number, "kind", string(event.Kind), "targets", event.Targets)
	rolling, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	err := in.stack.Roll(rolling, event.Targets[0])
	fired.Healed = time.Now()
	fired.Ready = fired.Healed.Sub(fired.Begun).Seconds()
	if err != nil {
		fired.Error = err.Error()
	}
	_ = in.stack.Remark("healed "+fired.Label, "fault", event.Number, "error", fired.Error)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.fired = append(in.fired, fired)
}

// history are the faults until now, in the order of their beginning.
func (in *injector) history() []Fired {
	in.mu.Lock()
	defer in.mu.Unlock()
	all := slices.Clone(in.fired)
	slices.SortFunc(all, func(a, b Fired) int { return a.Begun.Compare(b.Begun) })
	return all
}

// killsOf counts the kills of each process.
func killsOf(fired []Fired) map[string]int {
	kills := make(map[string]int)
	for _, f := range fired {
		if f.Kills() > 0 && f.Error == "" {
			for _, target := range f.Targets {
				kills[target]++
			}
		}
	}
	return kills
}

// isSidecar reports whether a process is a sidecar.
func isSidecar(name string) bool { return strings.HasSuffix(name, "-daprd") }
