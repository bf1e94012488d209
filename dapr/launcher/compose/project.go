// Package compose inspects and changes the containers of a stack that docker compose runs, with the launcher's terms.
package compose

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/process"
	"caravan/internal/clock"
)

// Project is a stack that docker compose runs. Its containers are found by the labels that Compose sets, so it does not
// matter with which files the stack was started.
type Project struct {
	Name    string
	Gateway string // the URL that the gateway should have, for reports while it does not run
	Mail    string // the URL that the page with the e-mails should have, likewise
}

// Container is the output of "docker inspect" for one container.
type Container struct {
	ID           string `json:"Id"`
	RestartCount int
	Args         []string
	State        struct {
		Status                string
		Pid, ExitCode         int
		StartedAt, FinishedAt time.Time
		Health                *struct{ Status string }
	}
	Config struct {
		Image  string
		Labels map[string]string
		Env    []string
	}
	HostConfig struct {
		RestartPolicy struct{ Name string }
	}
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress string }
		Ports    map[string][]struct{ HostIP, HostPort string }
	}
}

// Name is the name of the process, such as "orders-daprd".
func (k Container) Name() string { return k.Config.Labels["com.docker.compose.service"] }

// Done is the state of a container whose work is finished, such as "seed".
const Done process.State = "done"

// state returns the state of the container as a state of the launcher.
func (k Container) state() process.State {
	s := k.State
	switch {
	case s.Status == "restarting":
		return process.Waiting
	case s.Status == "exited" && s.ExitCode == 0 && k.HostConfig.RestartPolicy.Name == "no":
		return Done
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

// Status returns the container's status as the launcher would report it for a process.
func (k Container) Status() process.Status {
	status := process.Status{Name: k.Name(), State: k.state(), PID: k.State.Pid, Restarts: k.RestartCount, Since: k.State.StartedAt}
	if k.State.Pid == 0 {
		status.Since = k.State.FinishedAt
	}
	if k.State.ExitCode != 0 {
		status.LastExit = fmt.Sprintf("exit status %d", k.State.ExitCode)
	}
	return status
}

// Address is where the container's port is reached on the machine of the engine, which is on all of its networks, also
// those without Internet access. It is "" while the container has no address. A restart may change it.
func (k Container) Address(port string) string {
	for _, network := range k.NetworkSettings.Networks {
		if network.IPAddress != "" {
			return net.JoinHostPort(network.IPAddress, port)
		}
	}
	return ""
}

// Published is the address of the first published port of the container, such as 127.0.0.1:8080. It is "" if the
// container publishes none or does not run.
func (k Container) Published() string {
	for _, port := range slices.Sorted(maps.Keys(k.NetworkSettings.Ports)) {
		published := k.NetworkSettings.Ports[port]
		if len(published) == 0 { // for other containers only
			continue
		}
		host := published[0].HostIP
		if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		return net.JoinHostPort(host, published[0].HostPort)
	}
	return ""
}

// Getenv returns a variable of the container's environment.
func (k Container) Getenv(name string) string {
	for _, entry := range k.Config.Env {
		if value, found := strings.CutPrefix(entry, name+"="); found {
			return value
		}
	}
	return ""
}

// Flag returns a flag of the container's program, such as --dapr-http-port=3500.
func (k Container) Flag(name string) string {
	for _, word := range k.Args {
		if value, found := strings.CutPrefix(word, name+"="); found {
			return value
		}
	}
	return ""
}

// here reports whether the container's process runs on this machine. The engine may be elsewhere or in a virtual
// machine; the same process number is then a different process here.
func (k Container) here() bool {
	groups, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", k.State.Pid))
	return k.State.Pid > 0 && strings.Contains(string(groups), k.ID)
}

// CPU is the processor time that the container has used since its start. It is known on the engine's machine only.
func (k Container) CPU() time.Duration {
	if !k.here() {
		return 0
	}
	return process.TreeWork(k.State.Pid).CPU
}

// docker runs the docker command and returns its output.
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

// ErrNotUp is returned when Docker knows that the container or stack does not run.
var ErrNotUp = errors.New("it does not run")

// notUp is an ErrNotUp with a text of its own.
type notUp struct{ text string }

func (e *notUp) Error() string        { return e.text }
func (e *notUp) Is(target error) bool { return target == ErrNotUp }

// Containers returns the containers of the project, in order of their names.
func (p *Project) Containers(ctx context.Context) ([]Container, error) {
	ids, err := docker(ctx, "ps", "--all", "--quiet", "--no-trunc",
		"--filter", "label=com.docker.compose.project="+p.Name, "--filter", "label=com.docker.compose.oneoff=False")
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(ids)) == 0 {
		return nil, &notUp{fmt.Sprintf("docker compose runs no project %q; start it with: docker compose -f compose/compose.yaml up -d\n"+
			"(a project of another name is found by COMPOSE_PROJECT_NAME)", p.Name)}
	}
	raw, err := docker(ctx, append([]string{"inspect", "--type", "container"}, strings.Fields(string(ids))...)...)
	if err != nil {
		return nil, err
	}
	var all []Container
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("reading what docker inspect says: %w", err)
	}
	slices.SortFunc(all, func(a, b Container) int { return cmp.Compare(a.Name(), b.Name()) })
	return all, nil
}

// of returns the containers of one process. There are several while it is replaced.
func (p *Project) of(ctx context.Context, name string) ([]Container, error) {
	all, err := p.Containers(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	var own []Container
	for _, k := range all {
		names = append(names, k.Name())
		if k.Name() == name {
			own = append(own, k)
		}
	}
	if len(own) == 0 {
		return nil, &launcher.UnknownProcessError{Name: name, Known: slices.Compact(names)}
	}
	return own, nil
}

// GatewayURL returns the address of the running gateway, from Docker. The error is ErrNotUp if there is none.
func (p *Project) GatewayURL(ctx context.Context) (string, error) {
	return p.published(ctx, "gateway", "the gateway", "go run ./dapr status --target compose")
}

// LogStoreURL returns the address of the store for log lines and spans, from Docker. The error is ErrNotUp if there is none.
func (p *Project) LogStoreURL(ctx context.Context) (string, error) {
	return p.published(ctx, "logstore", "the store for log lines", "compose/observe.yaml")
}

// published returns the address of a container's published port.
func (p *Project) published(ctx context.Context, name, what, see string) (string, error) {
	all, err := p.Containers(ctx)
	if err != nil {
		return "", err
	}
	for _, k := range all {
		if address := k.Published(); k.Name() == name && address != "" {
			return "http://" + address, nil
		}
	}
	return "", &notUp{fmt.Sprintf("%s of project %q of docker compose does not run; see: %s", what, p.Name, see)}
}

// Report inspects every container. Memory and processor time are known on the engine's machine only.
func (p *Project) Report(ctx context.Context) (launcher.Report, error) {
	all, err := p.Containers(ctx)
	if err != nil {
		return launcher.Report{}, err
	}
	report := launcher.Report{Dir: p.Name, Gateway: p.Gateway, Broker: "none", Store: "none"}
	for _, k := range all {
		one := launcher.ProcessReport{Status: k.Status()}
		if k.here() {
			one.Memory, one.Work = process.TreeMemory(k.State.Pid), process.TreeWork(k.State.Pid)
		}
		switch k.Name() {
		case "gateway":
			if address := k.Published(); address != "" {
				report.Gateway = "http://" + address
			}
			one.URL = report.Gateway
		case "mail":
			if report.Mail = p.Mail; k.Published() != "" {
				report.Mail = "http://" + k.Published()
			}
			one.URL = report.Mail
		case "broker":
			report.Broker = k.Config.Image
		case "store":
			report.Store = k.Config.Image
		}
		report.Processes = append(report.Processes, one)
	}
	return report, nil
}

// each runs a docker command for the containers of a process.
func (p *Project) each(ctx context.Context, name, verb string) error {
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

// Crash ends a process by SIGKILL. It stays down, because Docker treats "docker kill" as a manual stop.
func (p *Project) Crash(ctx context.Context, name string) error {
	return p.each(ctx, name, "kill")
}

// Stop stops a process within its grace period. It stays down.
func (p *Project) Stop(ctx context.Context, name string) error {
	return p.each(ctx, name, "stop")
}

// Launch starts a process and returns at once.
func (p *Project) Launch(ctx context.Context, name string) error {
	return p.each(ctx, name, "start")
}

// Start starts a process and waits until it is ready.
func (p *Project) Start(ctx context.Context, name string) error {
	if err := p.Launch(ctx, name); err != nil {
		return err
	}
	return p.waitReady(ctx, name, launcher.DefaultTimeout)
}

// Restart stops a process, starts it again and waits until it is ready.
func (p *Project) Restart(ctx context.Context, name string) error {
	if err := p.each(ctx, name, "restart"); err != nil {
		return err
	}
	return p.waitReady(ctx, name, launcher.DefaultTimeout)
}

func (p *Project) waitReady(ctx context.Context, name string, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit,
		fmt.Errorf("%s is not ready after %s; see: go run ./dapr logs --target compose %s", name, limit, name))
	defer cancel()
	for {
		own, err := p.of(ctx, name)
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		if !slices.ContainsFunc(own, func(k Container) bool { return k.state() != process.Ready && k.state() != Done }) {
			return nil
		}
		if (clock.System{}).Sleep(ctx, 250*time.Millisecond) != nil {
			return context.Cause(ctx)
		}
	}
}

// Kill sends a signal to a process from outside its container. "docker kill" would not do: Docker treats it as a manual
// stop and leaves the container down.
func (p *Project) Kill(ctx context.Context, name string, signal syscall.Signal) error {
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
