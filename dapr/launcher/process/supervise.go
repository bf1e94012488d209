package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"caravan/internal/clock"
)

// The pause before the restart of a process that ends again and again doubles from the first to the last. It begins
// again with the first when the process has run for steadyAfter.
const (
	firstPause  = 200 * time.Millisecond
	lastPause   = 10 * time.Second
	steadyAfter = 30 * time.Second
)

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
			p.pid, p.since, p.lastExit, p.why = 0, time.Now(), exitText(err), ""
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
	wanted := false
	for p.until(func() bool { wanted = p.wanted; return wanted || p.state != Stopped }, p.quit) {
		if wanted {
			return true
		}
		p.change(func() { // it was started and stopped before it ran
			if !p.wanted {
				p.state, p.why = Stopped, ""
			}
		})
	}
	return false
}

// awaitNeeds waits until the processes in Needs are ready. It returns false when this process should no longer run.
func (p *Process) awaitNeeds() bool {
	unwanted, end := make(chan struct{}), make(chan struct{})
	defer close(end)
	go func() {
		if p.until(p.unwanted, end) {
			close(unwanted)
		}
	}()
	for _, need := range p.spec.Needs {
		p.explain("waits for " + need.Name())
		if !need.until(func() bool { return need.state == Ready }, unwanted) {
			return false
		}
	}
	return true
}

// rest pauses before the next start. A stop ends the pause.
func (p *Process) rest(pause time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), pause)
	defer cancel()
	if p.until(p.unwanted, ctx.Done()) {
		p.change(func() { p.state = Stopped })
	}
}

// live runs the process once, from start to end.
func (p *Process) live() error {
	cmd, output, err := p.launch()
	if err != nil {
		p.log.write([]byte("the launcher could not start it: " + err.Error() + "\n"))
		return err
	}
	p.change(func() { p.pid, p.state, p.since, p.why = cmd.Process.Pid, Starting, time.Now(), "" })

	var copying, watching sync.WaitGroup
	copying.Go(func() { p.log.copyFrom(output) })
	living, end := context.WithCancel(context.Background())
	watching.Go(func() { p.probe(living) })
	watching.Go(func() {
		if p.until(p.unwanted, living.Done()) {
			p.askToEnd()
		}
	})

	waitForExit(cmd.Process.Pid)
	// The descendants of the process end with it. It is not reaped yet, so no other process can have the number of its
	// group.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	end()
	watching.Wait()
	p.mu.Lock()
	p.pid = 0 // no signal may be sent when the number is free
	err = cmd.Wait()
	p.mu.Unlock()
	copying.Wait()
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
	cmd.ExtraFiles = p.spec.Files
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
	const pause, timeout = 50 * time.Millisecond, 2 * time.Second
	for p.spec.Ready != nil {
		err := p.probeOnce(ctx, timeout)
		if err == nil {
			break
		}
		p.explain(err.Error())
		if (clock.System{}).Sleep(ctx, pause) != nil {
			return
		}
	}
	if ctx.Err() == nil {
		p.change(func() { p.state, p.why = Ready, "" })
	}
}

func (p *Process) probeOnce(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return p.spec.Ready(ctx)
}

// askToEnd sends the stop signal to the process only, because it ends its descendants itself.
func (p *Process) askToEnd() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid == 0 {
		return
	}
	// A process that was paused (kill -STOP) could not react to the signal.
	_ = syscall.Kill(-p.pid, syscall.SIGCONT)
	_ = syscall.Kill(p.pid, p.spec.StopSignal)
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
