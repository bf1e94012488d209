package launcher

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"

	"caravan/dapr/launcher/process"
)

// UnknownProcessError says that the stack has no process of that name.
type UnknownProcessError struct {
	Name  string
	Known []string
}

// Error lists the existing names.
func (e *UnknownProcessError) Error() string {
	return fmt.Sprintf("no process is called %q; there are %s", e.Name, strings.Join(e.Known, ", "))
}

func (s *Stack) process(name string) (*process.Process, error) {
	unknown := &UnknownProcessError{Name: name}
	for _, p := range s.all() {
		if p.Name() == name {
			return p, nil
		}
		unknown.Known = append(unknown.Known, p.Name())
	}
	return nil, unknown
}

// byKind returns the processes in start order, without those that observe.
func (s *Stack) byKind() (apps, sidecars, servers []*process.Process) {
	for _, p := range s.all() {
		switch {
		case isObserver(p.Name()): // see observers
		case strings.HasPrefix(p.Name(), "broker") || p.Name() == "store" || p.Name() == MailProcess:
			servers = append(servers, p)
		case strings.HasSuffix(p.Name(), "-daprd"):
			sidecars = append(sidecars, p)
		default:
			apps = append(apps, p)
		}
	}
	return apps, sidecars, servers
}

func (s *Stack) all() []*process.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.processes)
}

// Process is a process's state, pid and URL.
func (s *Stack) Process(name string) (process.Status, error) {
	p, err := s.process(name)
	if err != nil {
		return process.Status{}, err
	}
	return p.Status(), nil
}

// Processes are all processes, in start order.
func (s *Stack) Processes() []process.Status {
	var all []process.Status
	for _, p := range s.all() {
		all = append(all, p.Status())
	}
	return all
}

// Kill sends a signal to a process and its descendants. If the process ends, it is started again.
func (s *Stack) Kill(name string, signal syscall.Signal) error {
	p, err := s.process(name)
	if err != nil {
		return err
	}
	return p.Signal(signal)
}

// StopProcess stops a process and keeps it down until StartProcess.
func (s *Stack) StopProcess(ctx context.Context, name string) error {
	p, err := s.process(name)
	if err != nil {
		return err
	}
	p.Stop(ctx)
	return nil
}

// StartProcess starts a stopped process again and waits until it is ready, but at most Options.Timeout.
func (s *Stack) StartProcess(ctx context.Context, name string) error {
	p, err := s.process(name)
	if err != nil {
		return err
	}
	p.Start()
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	return p.WaitReady(ctx, 5)
}

// Restart stops a process, starts it again and waits until it is ready.
func (s *Stack) Restart(ctx context.Context, name string) error {
	if err := s.StopProcess(ctx, name); err != nil {
		return err
	}
	return s.StartProcess(ctx, name)
}

// LogLines reads the log lines of all processes that accept returns true for, in order of their times.
func (s *Stack) LogLines(accept func(LogLine) bool) ([]LogLine, error) {
	return ReadLogs(s.dir, accept)
}

func closeAll(ctx context.Context, processes []*process.Process) {
	var wait sync.WaitGroup
	for _, p := range processes {
		wait.Go(func() { p.Close(ctx) })
	}
	wait.Wait()
}
