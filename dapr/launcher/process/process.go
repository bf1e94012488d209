package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// State is the state of a process.
type State string

// The states of a process.
const (
	Starting State = "starting" // running, its readiness probe has not passed yet
	Ready    State = "ready"    // running, and its probe has passed since it started
	Waiting  State = "waiting"  // ended by itself; it is started again after a pause
	Stopped  State = "stopped"  // stays down until somebody starts it
)

// Spec says how one process runs.
type Spec struct {
	Name string
	URL  string // where it can be reached, for people; may be empty
	Path string
	Args []string
	Env  []string // the whole environment, as KEY=value
	Dir  string
	// Files are given to the process as its file descriptors from 3 on. They stay open when it ends, so a listening socket takes
	// connections until it was started again.
	Files []*os.File
	// Attributes may change the user of the process. The launcher adds the process group and the parent-death signal.
	Attributes syscall.SysProcAttr
	// Needs must all be ready before each start. For example, a sidecar needs the broker to which it connects at its
	// start.
	Needs []*Process
	// Ready probes whether the process serves; nil means that it serves when it runs.
	Ready func(ctx context.Context) error
	// StopSignal asks the process to end; SIGTERM when zero.
	StopSignal syscall.Signal
	// StopTimeout is how long it may take to end before SIGKILL; 10 s when zero.
	StopTimeout time.Duration
}

// Status is the public state of a process.
type Status struct {
	Name     string    `json:"name"`
	State    State     `json:"state"`
	PID      int       `json:"pid"`
	URL      string    `json:"url,omitempty"`
	Restarts int       `json:"restarts"`
	Since    time.Time `json:"since"`
	LastExit string    `json:"lastExit,omitempty"` // how it ended last, such as "signal: killed"
	Why      string    `json:"why,omitempty"`      // why it is not ready, as far as that is known
}

// Supervisor owns a set of processes.
type Supervisor struct {
	logs    string
	echo    func(name string, line []byte)
	changed func(Status)
	spawner *spawner
}

// NewSupervisor returns a supervisor that writes <dir>/<name>.log for each process. It also passes every line to echo,
// and calls changed after each change of a process's state. Both may be nil.
func NewSupervisor(dir string, echo func(name string, line []byte), changed func(Status)) *Supervisor {
	return &Supervisor{logs: dir, echo: echo, changed: changed, spawner: newSpawner()}
}

// Close ends the supervisor. Every process must have been closed before.
func (s *Supervisor) Close() { s.spawner.close() }

// Process is one supervised process over all its restarts.
type Process struct {
	spec       Spec
	supervisor *Supervisor
	log        *logFile

	mu       sync.Mutex
	state    State
	wanted   bool
	pid      int
	restarts int
	since    time.Time
	lastExit string
	why      string
	turn     chan struct{} // closed and replaced at each change

	quit   chan struct{}
	closed chan struct{}
}

// Add adds a process to the supervisor. It is stopped until Start.
func (s *Supervisor) Add(spec Spec) (*Process, error) {
	if spec.StopSignal == 0 {
		spec.StopSignal = syscall.SIGTERM
	}
	if spec.StopTimeout == 0 {
		spec.StopTimeout = 10 * time.Second
	}
	var echo func([]byte)
	if s.echo != nil {
		echo = func(line []byte) { s.echo(spec.Name, line) }
	}
	log, err := openLog(filepath.Join(s.logs, spec.Name+".log"), echo)
	if err != nil {
		return nil, err
	}
	p := &Process{
		spec: spec, supervisor: s, log: log,
		state: Stopped, since: time.Now(), turn: make(chan struct{}),
		quit: make(chan struct{}), closed: make(chan struct{}),
	}
	go p.supervise()
	return p, nil
}

// Name is the name of the process, such as "orders-daprd".
func (p *Process) Name() string { return p.spec.Name }

// Status is the present status of the process.
func (p *Process) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status()
}

func (p *Process) status() Status {
	return Status{
		Name: p.spec.Name, State: p.state, PID: p.pid, URL: p.spec.URL,
		Restarts: p.restarts, Since: p.since, LastExit: p.lastExit, Why: p.why,
	}
}

// explain says why the process is not ready. It is no change of its state.
func (p *Process) explain(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.why = why
}

// Start asks for the process to run, and returns at once.
func (p *Process) Start() { p.want(true) }

// Stop asks the process to end and waits for that. It kills the process after its stop timeout or when the context
// ends. The process stays down until Start.
func (p *Process) Stop(ctx context.Context) {
	p.want(false)
	stopped := func() bool { return p.state == Stopped }
	ctx, cancel := context.WithTimeout(ctx, p.spec.StopTimeout)
	defer cancel()
	if !p.until(stopped, ctx.Done()) {
		_ = p.Signal(syscall.SIGKILL)
		p.until(stopped, nil)
	}
}

// Close stops the process permanently.
func (p *Process) Close(ctx context.Context) {
	p.Stop(ctx)
	close(p.quit)
	<-p.closed
	p.log.close()
}

// ErrNotRunning is returned for a signal to a process that does not run.
var ErrNotRunning = errors.New("not running")

// Signal sends a signal to the process and its descendants. If the process ends, it is started again, unlike after
// Stop.
func (p *Process) Signal(signal syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid == 0 {
		return fmt.Errorf("%s: %w", p.spec.Name, ErrNotRunning)
	}
	if err := syscall.Kill(-p.pid, signal); err != nil {
		return fmt.Errorf("signalling %s: %w", p.spec.Name, err)
	}
	return nil
}

// WaitReady waits until the process is ready. It returns a *FailedError when the context ends first or the process has
// ended more than maxRestarts times.
func (p *Process) WaitReady(ctx context.Context, maxRestarts int) error {
	first, began, ready := p.Status().Restarts, time.Now(), false
	p.until(func() bool {
		ready = p.state == Ready
		return ready || p.restarts-first > maxRestarts
	}, ctx.Done())
	if ready {
		return nil
	}
	return p.failed(ctx, began)
}

func (p *Process) failed(ctx context.Context, began time.Time) error {
	failure := &FailedError{Name: p.spec.Name, Waited: time.Since(began), Log: p.log.lastLines(), LogPath: p.log.path, cause: ctx.Err()}
	if status := p.Status(); status.PID == 0 {
		failure.LastExit = status.LastExit
	} else if p.spec.Ready != nil {
		probing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		failure.Probe = p.spec.Ready(probing)
	}
	return failure
}

// until waits until a condition holds, and then returns true. It returns false when stop is closed first. The condition
// may read the state of the process.
func (p *Process) until(holds func() bool, stop <-chan struct{}) bool {
	for {
		p.mu.Lock()
		held, turn := holds(), p.turn
		p.mu.Unlock()
		if held {
			return true
		}
		select {
		case <-turn:
		case <-stop:
			return false
		}
	}
}

// unwanted is the condition that the process should no longer run.
func (p *Process) unwanted() bool { return !p.wanted }

func (p *Process) change(apply func()) {
	p.mu.Lock()
	apply()
	close(p.turn)
	p.turn = make(chan struct{})
	status := p.status()
	p.mu.Unlock()
	if p.supervisor.changed != nil {
		p.supervisor.changed(status)
	}
}

func (p *Process) want(up bool) {
	p.change(func() {
		p.wanted = up
		if up && p.state == Stopped {
			p.state = Starting
		}
	})
}
