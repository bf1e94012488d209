package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"caravan/internal/launcher"
	"caravan/internal/launcher/process"
)

// processes are those of a stack, as commands see and change them: of the launcher, or of docker compose.
type processes interface {
	Report(ctx context.Context) (launcher.Report, error)
	Restart(ctx context.Context, name string) error
	Start(ctx context.Context, name string) error
	Stop(ctx context.Context, name string) error
	Kill(ctx context.Context, name string, signal syscall.Signal) error
}

// processes are those of the stack that --target names.
func (c *cli) processes(ctx context.Context) (processes, error) {
	if c.options.access.target == targetCompose {
		return c.composeProject()
	}
	return c.connect(ctx)
}

// composeProject is the stack that docker compose runs. Its containers are found by the labels that Compose gives them,
// so that no command has to know with which files it was started.
type composeProject struct {
	name    string
	gateway string
}

func (c *cli) composeProject() (*composeProject, error) {
	setting, err := c.composeSettings()
	if err != nil {
		return nil, err
	}
	shop, err := c.composeShop()
	if err != nil {
		return nil, err
	}
	return &composeProject{name: cmp.Or(setting("COMPOSE_PROJECT_NAME"), "caravan"), gateway: shop.gateway}, nil
}

// container is what "docker inspect" tells of one.
type container struct {
	ID           string `json:"Id"`
	RestartCount int
	State        struct {
		Status                string
		Pid, ExitCode         int
		StartedAt, FinishedAt time.Time
		Health                *struct{ Status string }
	}
	Config struct {
		Image  string
		Labels map[string]string
	}
	HostConfig struct {
		RestartPolicy struct{ Name string }
	}
}

func (k container) name() string { return k.Config.Labels["com.docker.compose.service"] }

// done is the state of a container that has ended as it should, as "seed".
const done process.State = "done"

// state is that of the container in the launcher's words.
func (k container) state() process.State {
	s := k.State
	switch {
	case s.Status == "restarting":
		return process.Waiting
	case s.Status == "exited" && s.ExitCode == 0 && k.HostConfig.RestartPolicy.Name == "no":
		return done
	case s.Status == "exited" || s.Status == "created" || s.Status == "dead":
		return process.Stopped
	case s.Status == "running" && (s.Health == nil || s.Health.Status == "healthy"):
		return process.Ready
	case s.Status == "running" && s.Health.Status == "starting":
		return process.Starting
	case s.Status == "running":
		return process.State(s.Health.Status)
	}
	return process.State(s.Status) // paused
}

// status is that of the container as the launcher would report a process.
func (k container) status() process.Status {
	status := process.Status{Name: k.name(), State: k.state(), PID: k.State.Pid, Restarts: k.RestartCount, Since: k.State.StartedAt}
	if k.State.Pid == 0 {
		status.Since = k.State.FinishedAt
	}
	if k.State.ExitCode != 0 {
		status.LastExit = fmt.Sprintf("exit status %d", k.State.ExitCode)
	}
	return status
}

// here reports whether the container's process is one of this machine. The engine may be elsewhere, or in a virtual
// machine, and the same number is another process here.
func (k container) here() bool {
	groups, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", k.State.Pid))
	return k.State.Pid > 0 && strings.Contains(string(groups), k.ID)
}

// docker runs the docker command and returns what it wrote.
func docker(ctx context.Context, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "docker", args...)
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	err := command.Run()
	if err == nil {
		return out.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if _, missing := launcher.FindDocker(ctx); missing != nil {
		return nil, missing
	}
	return nil, fmt.Errorf("docker %s: %w: %s", args[0], err, strings.TrimSpace(said.String()))
}

// containers are those of the project, in order of their names.
func (p *composeProject) containers(ctx context.Context) ([]container, error) {
	ids, err := docker(ctx, "ps", "--all", "--quiet", "--no-trunc",
		"--filter", "label=com.docker.compose.project="+p.name, "--filter", "label=com.docker.compose.oneoff=False")
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(ids)) == 0 {
		return nil, fmt.Errorf("docker compose runs no project %q; start it with: docker compose -f compose/compose.yaml up -d\n"+
			"(a project of another name is found by COMPOSE_PROJECT_NAME)", p.name)
	}
	raw, err := docker(ctx, append([]string{"inspect", "--type", "container"}, strings.Fields(string(ids))...)...)
	if err != nil {
		return nil, err
	}
	var all []container
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("reading what docker inspect says: %w", err)
	}
	slices.SortFunc(all, func(a, b container) int { return cmp.Compare(a.name(), b.name()) })
	return all, nil
}

// of are the containers of one process; more than one while it is replaced.
func (p *composeProject) of(ctx context.Context, name string) ([]container, error) {
	all, err := p.containers(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	var own []container
	for _, k := range all {
		names = append(names, k.name())
		if k.name() == name {
			own = append(own, k)
		}
	}
	if len(own) == 0 {
		return nil, unknownProcess(name, slices.Compact(names))
	}
	return own, nil
}

// Report looks at every container. Memory and processor time are known on the engine's own machine alone.
func (p *composeProject) Report(ctx context.Context) (launcher.Report, error) {
	all, err := p.containers(ctx)
	if err != nil {
		return launcher.Report{}, err
	}
	report := launcher.Report{Dir: p.name, Gateway: p.gateway, Broker: "none", Store: "none"}
	for _, k := range all {
		one := launcher.ProcessReport{Status: k.status()}
		if k.here() {
			one.Memory, one.CPU = process.TreeMemory(k.State.Pid), process.TreeCPU(k.State.Pid)
		}
		switch k.name() {
		case "gateway":
			one.URL = p.gateway
		case "broker":
			report.Broker = k.Config.Image
		case "store":
			report.Store = k.Config.Image
		}
		report.Processes = append(report.Processes, one)
	}
	return report, nil
}

// each runs a docker command about the containers of a process.
func (p *composeProject) each(ctx context.Context, name, verb string) error {
	own, err := p.of(ctx, name)
	if err != nil {
		return err
	}
	args := []string{verb}
	for _, k := range own {
		args = append(args, k.ID)
	}
	_, err = docker(ctx, args...)
	return err
}

// Stop stops a process, within its grace period, and keeps it down.
func (p *composeProject) Stop(ctx context.Context, name string) error {
	return p.each(ctx, name, "stop")
}

// Start starts a process and waits until it is ready.
func (p *composeProject) Start(ctx context.Context, name string) error {
	if err := p.each(ctx, name, "start"); err != nil {
		return err
	}
	return p.waitReady(ctx, name, launcher.DefaultTimeout)
}

// Restart stops a process, starts it again and waits until it is ready.
func (p *composeProject) Restart(ctx context.Context, name string) error {
	if err := p.each(ctx, name, "restart"); err != nil {
		return err
	}
	return p.waitReady(ctx, name, launcher.DefaultTimeout)
}

func (p *composeProject) waitReady(ctx context.Context, name string, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit,
		fmt.Errorf("%s is not ready after %s; see: go run ./dapr logs --target compose %s", name, limit, name))
	defer cancel()
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		own, err := p.of(ctx, name)
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		if !slices.ContainsFunc(own, func(k container) bool { return k.state() != process.Ready && k.state() != done }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// Kill sends a signal to a process from outside its container. "docker kill" would not do: Docker takes it for a stop by
// hand, and leaves the container down.
func (p *composeProject) Kill(ctx context.Context, name string, signal syscall.Signal) error {
	own, err := p.of(ctx, name)
	if err != nil {
		return err
	}
	for _, k := range own {
		if k.State.Pid == 0 {
			return fmt.Errorf("%s is not running; start it with: go run ./dapr start --target compose %s", name, name)
		}
		if !k.here() {
			return fmt.Errorf("process %d of %s is not on this machine: kill works where the Docker engine runs, outside of Docker Desktop", k.State.Pid, name)
		}
		err := syscall.Kill(k.State.Pid, signal)
		if errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("%s runs as another user: kill it as root (process %d)", name, k.State.Pid)
		}
		if err != nil {
			return fmt.Errorf("sending the signal to %s: %w", name, err)
		}
	}
	return nil
}

// readLogs returns the lines of one process, or of all, that accept takes, in order of their times.
func (p *composeProject) readLogs(ctx context.Context, name string, accept func(launcher.LogLine) bool) ([]launcher.LogLine, error) {
	chosen, err := p.logged(ctx, name)
	if err != nil {
		return nil, err
	}
	var all []launcher.LogLine
	for _, k := range chosen {
		_, err := k.logs(ctx, nil, func(line launcher.LogLine) {
			if accept(line) {
				all = append(all, line)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b launcher.LogLine) int { return a.Time.Compare(b.Time) })
	return all, nil
}

// followLogs shows the lines that accept takes, those there are and those to come, until the context ends.
func (p *composeProject) followLogs(ctx context.Context, name string, accept func(launcher.LogLine) bool, show func(launcher.LogLine)) error {
	chosen, err := p.logged(ctx, name)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, k := range chosen {
		group.Go(func() {
			k.followLogs(ctx, func(line launcher.LogLine) {
				mu.Lock()
				defer mu.Unlock()
				if accept(line) {
					show(line)
				}
			})
		})
	}
	group.Wait()
	return nil
}

// logged are the containers of one process, or of all.
func (p *composeProject) logged(ctx context.Context, name string) ([]container, error) {
	if name == "" {
		return p.containers(ctx)
	}
	return p.of(ctx, name)
}

// followLogs asks again when "docker logs" ends, as it does with the container's process.
func (k container) followLogs(ctx context.Context, show func(launcher.LogLine)) {
	args := []string{"--follow"}
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		last, _ := k.logs(ctx, args, show)
		if !last.IsZero() {
			args = []string{"--follow", "--since", last.Add(time.Nanosecond).Format(time.RFC3339Nano)}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// logs passes on every line that "docker logs" shows, and returns the time of the last.
func (k container) logs(ctx context.Context, args []string, pass func(launcher.LogLine)) (last time.Time, err error) {
	command := exec.CommandContext(ctx, "docker", append(append([]string{"logs", "--timestamps"}, args...), k.ID)...)
	reader, writer := io.Pipe()
	command.Stdout, command.Stderr = writer, writer
	if err := command.Start(); err != nil {
		return last, fmt.Errorf("reading the log of %s: %w", k.name(), err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- command.Wait()
		_ = writer.Close()
	}()
	scanner := bufio.NewScanner(reader)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		stamp, text, _ := strings.Cut(scanner.Text(), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil { // what docker itself has to say
			text = scanner.Text()
		} else {
			last = at
		}
		line := launcher.ParseLine(k.name(), text)
		if line.Time.IsZero() {
			line.Time = at
		}
		pass(line)
	}
	_ = reader.CloseWithError(io.ErrClosedPipe) // a line too long: docker ends
	if err := cmp.Or(scanner.Err(), <-ended); err != nil {
		return last, fmt.Errorf("reading the log of %s: %w", k.name(), err)
	}
	return last, nil
}
