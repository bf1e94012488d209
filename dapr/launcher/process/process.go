package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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
	turn     chan struct{} // closed and replaced at each change

	quit   chan struct{}
	closed chan struct{}
}

// The pause before the restart of a process that ends again and again doubles from the first to the last. It begins
// again with the first when the process has run for steadyAfter.
const (
	firstPause  = 200 * time.Millisecond
	lastPause   = 10 * time.Second
	steadyAfter = 30 * time.Second
)

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

// LogPath is the file of its output.
func (p *Process) LogPath() string { return p.log.path }

// Status is the present status of the process.
func (p *Process) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status()
}

func (p *Process) status() Status {
	return Status{
		Name: p.spec.Name, State: p.state, PID: p.pid, URL: p.spec.URL,
		Restarts: p.restarts, Since: p.since, LastExit: p.lastExit,
	}
}

// Start asks for the process to run, and returns at once.
func (p *Process) Start() { p.want(true) }

// Stop asks the process to end and waits for that. It kills the process after its stop timeout or when the context
// ends. The process stays down until Start.
func (p *Process) Stop(ctx context.Context) {
	p.want(false)
	killed := false
	timeout := time.NewTimer(p.spec.StopTimeout)
	defer timeout.Stop()
	for {
		status, turn := p.observe()
		if status.State == Stopped {
			return
		}
		done := ctx.Done()
		if killed {
			done = nil
		}
		select {
		case <-turn:
		case <-timeout.C:
			killed = true
			_ = p.Signal(syscall.SIGKILL)
		case <-done:
			killed = true
			_ = p.Signal(syscall.SIGKILL)
		}
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
	first, _ := p.observe()
	began := time.Now()
	for {
		status, turn := p.observe()
		if status.State == Ready {
			return nil
		}
		if status.Restarts-first.Restarts > maxRestarts {
			return p.failed(ctx, began)
		}
		select {
		case <-turn:
		case <-ctx.Done():
			return p.failed(ctx, began)
		}
	}
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

// observe returns the status and a channel closed at the next change.
func (p *Process) observe() (Status, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status(), p.turn
}

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

// supervise runs the process again and again.
func (p *Process) supervise() {
	defer close(p.closed)
	pause := firstPause
	for {
		if !p.awaitWanted() {
			return
		}
		if !p.awaitNeeds() {
			continue
		}
		began := time.Now()
		err := p.live()
		if time.Since(began) > steadyAfter {
			pause = firstPause
		}
		down := false
		p.change(func() {
			p.pid, p.since, p.lastExit = 0, time.Now(), exitText(err)
			p.state = Waiting
			if down = !p.wanted; down {
				p.state = Stopped
			} else {
				p.restarts++
			}
		})
		if down {
			pause = firstPause
			continue
		}
		p.rest(pause)
		pause = min(2*pause, lastPause)
	}
}

// awaitWanted waits until the process should run. It returns false after Close.
func (p *Process) awaitWanted() bool {
	for {
		p.mu.Lock()
		wanted, state, turn := p.wanted, p.state, p.turn
		p.mu.Unlock()
		if wanted {
			return true
		}
		if state != Stopped { // it was started and stopped before it ran
			p.change(func() { p.state = Stopped })
			continue
		}
		select {
		case <-turn:
		case <-p.quit:
			return false
		}
	}
}

// awaitNeeds waits until the processes in Needs are ready. It returns false when this process should no longer run.
func (p *Process) awaitNeeds() bool {
	for _, need := range p.spec.Needs {
		for {
			status, needTurn := need.observe()
			if status.State == Ready {
				break
			}
			p.mu.Lock()
			wanted, turn := p.wanted, p.turn
			p.mu.Unlock()
			if !wanted {
				return false
			}
			select {
			case <-needTurn:
			case <-turn:
			}
		}
	}
	return true
}

// rest pauses before the next start. A stop ends the pause.
func (p *Process) rest(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		p.mu.Lock()
		wanted, turn := p.wanted, p.turn
		p.mu.Unlock()
		if !wanted {
			p.change(func() { p.state = Stopped })
			return
		}
		select {
		case <-timer.C:
			return
		case <-turn:
		}
	}
}

// live runs the process once, from start to end.
func (p *Process) live() error {
	cmd, output, err := p.launch()
	if err != nil {
		p.log.write([]byte("the launcher could not start it: " + err.Error() + "\n"))
		return err
	}
	p.change(func() { p.pid, p.state, p.since = cmd.Process.Pid, Starting, time.Now() })

	copied := make(chan struct{})
	go func() {
		defer close(copied)
		p.log.copyFrom(output)
	}()
	living, end := context.WithCancel(context.Background())
	probed := make(chan struct{})
	go func() {
		defer close(probed)
		p.probe(living)
	}()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		p.askToEnd(living)
	}()

	waitForExit(cmd.Process.Pid)
	// The descendants of the process end with it. It is not reaped yet, so no other process can have the number of its
	// group.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	end()
	<-probed
	<-asked
	p.mu.Lock()
	p.pid = 0 // no signal may be sent when the number is free
	err = cmd.Wait()
	p.mu.Unlock()
	<-copied
	_ = output.Close()
	return err
}

func (p *Process) launch() (*exec.Cmd, *os.File, error) {
	output, input, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("making a pipe for the output: %w", err)
	}
	defer input.Close()
	cmd := exec.Command(p.spec.Path, p.spec.Args...)
	cmd.Env, cmd.Dir = p.spec.Env, p.spec.Dir
	cmd.Stdout, cmd.Stderr = input, input
	attributes := p.spec.Attributes
	attributes.Setpgid, attributes.Pdeathsig = true, syscall.SIGKILL
	cmd.SysProcAttr = &attributes
	if err := p.supervisor.spawner.start(cmd); err != nil {
		_ = output.Close()
		return nil, nil, fmt.Errorf("starting %s: %w", p.spec.Path, err)
	}
	return cmd, output, nil
}

// probe probes until the process is ready or has ended.
func (p *Process) probe(ctx context.Context) {
	const often, timeout = 50 * time.Millisecond, 2 * time.Second
	ticker := time.NewTicker(often)
	defer ticker.Stop()
	for {
		if p.spec.Ready == nil || p.probeOnce(ctx, timeout) == nil {
			if ctx.Err() == nil {
				p.change(func() { p.state = Ready })
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *Process) probeOnce(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return p.spec.Ready(ctx)
}

// askToEnd sends the stop signal when the process should no longer run.
func (p *Process) askToEnd(ctx context.Context) {
	for {
		p.mu.Lock()
		wanted, turn := p.wanted, p.turn
		p.mu.Unlock()
		if !wanted {
			_ = p.signalSelf(p.spec.StopSignal)
			return
		}
		select {
		case <-turn:
		case <-ctx.Done():
			return
		}
	}
}

// signalSelf sends a signal to the process only, because it ends its descendants itself.
func (p *Process) signalSelf(signal syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid == 0 {
		return ErrNotRunning
	}
	// A process that was paused (kill -STOP) could not react to the signal.
	_ = syscall.Kill(-p.pid, syscall.SIGCONT)
	return syscall.Kill(p.pid, signal)
}

// waitForExit waits until the child has ended, and does not reap it.
func waitForExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}
