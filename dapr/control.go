package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/compose"
	"caravan/dapr/launcher/manifest"
	"caravan/dapr/launcher/process"
	"caravan/internal/version"
)

// connect connects to the running stack.
func (c *cli) connect(ctx context.Context) (*launcher.Control, error) {
	control, err := launcher.Connect(ctx, c.dir)
	if errors.Is(err, launcher.ErrNotUp) {
		return nil, fmt.Errorf("%w; start it with: %s", err, c.run("up"))
	}
	return control, err
}

func downCommand() command {
	return command{
		name: "down", summary: "stop everything",
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error {
			control, err := launcher.Connect(ctx, c.dir)
			if errors.Is(err, launcher.ErrNotUp) {
				fmt.Fprintln(c.out, "Nothing is running.")
				return nil
			}
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, stopTimeout+15*time.Second)
			defer cancel()
			if err := control.Down(ctx); err != nil {
				return err
			}
			fmt.Fprintln(c.out, "Stopped.")
			return nil
		},
	}
}

func statusCommand() command {
	return command{
		name: "status", summary: "show every process: state, restarts, memory, address",
		details: `
Exits with 1 when nothing is running or a process is not ready. --target compose shows the containers of docker compose.
With --gateway URL it shows what the gateway knows: its services and circuit breakers to staff, whose password it reads as
"audit" does, and to others whether each service is ready.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			c.loginFlags(flags)
			flags.BoolVar(&c.options.status.json, "json", false, "as JSON")
		},
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error {
			if c.options.access.gateway != "" {
				return c.gatewayStatus(ctx)
			}
			control, err := c.processes(ctx)
			if err != nil {
				return err
			}
			report, err := control.Report(ctx)
			if err != nil {
				return err
			}
			return c.showReport(report)
		},
	}
}

func (c *cli) showReport(report launcher.Report) error {
	var unready error
	for _, p := range report.Processes {
		if p.State != process.Ready && p.State != compose.Done {
			unready = errFailed
		}
	}
	if c.options.status.json {
		encoder := json.NewEncoder(c.out)
		encoder.SetIndent("", "  ")
		return errors.Join(encoder.Encode(report), unready)
	}
	fmt.Fprintf(c.out, "Gateway %s, broker %s, store %s, ", report.Gateway, report.Broker, report.Store)
	if c.options.access.target == targetCompose {
		fmt.Fprintf(c.out, "project %s of docker compose\n\n", report.Dir)
	} else {
		fmt.Fprintf(c.out, "launcher pid %d, up for %s\n\n", report.PID, time.Since(report.Since).Round(time.Second))
	}
	width := len("PROCESS")
	for _, p := range report.Processes {
		width = max(width, len(p.Name))
	}
	fmt.Fprintf(c.out, "%-*s %-9s %8s %9s %10s %9s  %s\n", width, "PROCESS", "STATE", "PID", "RESTARTS", "FOR", "MEMORY", "ADDRESS")
	var total int64
	for _, p := range report.Processes {
		fmt.Fprintf(c.out, "%-*s %-9s %8d %9d %10s %9s  %s%s\n", width, p.Name, p.State, p.PID, p.Restarts,
			duration(p.Since), memory(p.PSS), p.URL, lastExit(p))
		total += p.PSS
	}
	fmt.Fprintf(c.out, "%-*s %49s  (resident, shared pages counted once)\n", width, "all", memory(total))
	if report.Logs != "" {
		fmt.Fprintf(c.out, "\nLogs %s/select/vmui/: %s\n", report.Logs, collected(report.Collected))
	}
	if report.Metrics != "" {
		fmt.Fprintf(c.out, "Metrics %s\n", launcher.MetricsPage(report.Metrics))
	}
	return unready
}

// collected says what the collector of log lines and spans has done, and what was lost.
func collected(done *launcher.Collected) string {
	if done == nil {
		return "the collector does not answer"
	}
	text := fmt.Sprintf("%s stored, %s received", counted(done.Lines, "row"), counted(done.Spans, "span"))
	if done.StoreFailures > 0 {
		text += "; the store does not answer"
	}
	if done.BytesBehind > 0 {
		text += fmt.Sprintf("; %d kB of files to go", (done.BytesBehind+1023)/1024)
	}
	if lost := done.SpansRefused; lost > 0 {
		text += fmt.Sprintf("; %s refused for lack of space", counted(lost, "span"))
	}
	if done.ExportsInvalid > 0 {
		text += fmt.Sprintf("; %s could not be read", counted(done.ExportsInvalid, "export"))
	}
	return text
}

// duration formats how long a state has lasted, "-" for a container that never ran.
func duration(since time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return age(since)
}

// memory formats a size in MB, "-" if it is unknown.
func memory(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return fmt.Sprintf("%d M", bytes>>20)
}

func lastExit(p launcher.ProcessReport) string {
	if p.LastExit == "" {
		return ""
	}
	return "  (last: " + p.LastExit + ")"
}

// processCommand makes a command for one process of the running stack. act returns a description of what it did.
func processCommand(name, summary, details string, act func(context.Context, *cli, processes, string) (did string, err error)) command {
	return command{
		name: name, args: "PROCESS", summary: summary, details: details, min: 1, max: 1,
		flags: (*cli).targetFlag,
		run: func(ctx context.Context, c *cli, flags *flag.FlagSet) error {
			control, err := c.processes(ctx)
			if err != nil {
				return err
			}
			report, err := control.Report(ctx)
			if err != nil {
				return err
			}
			name := flags.Arg(0)
			if err := known(report, name); err != nil {
				return err
			}
			did, err := act(ctx, c, control, name)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.out, "%s %s\n", name, did)
			return nil
		},
	}
}

func known(report launcher.Report, name string) error {
	var names []string
	for _, p := range report.Processes {
		if p.Name == name {
			return nil
		}
		names = append(names, p.Name)
	}
	return unknownProcess(name, names)
}

func unknownProcess(name string, names []string) error {
	hint := ""
	if nearest := manifest.Nearest(name, names); nearest != "" {
		hint = fmt.Sprintf(" Did you mean %q?", nearest)
	}
	return &usageError{fmt.Sprintf("No process is called %q.%s\nProcesses: %s", name, hint, strings.Join(names, ", "))}
}

func restartCommand() command {
	return processCommand("restart", "stop a process, start it again and wait until it is ready", "",
		func(ctx context.Context, _ *cli, control processes, name string) (string, error) {
			return "is ready again.", control.Restart(ctx, name)
		})
}

func stopCommand() command {
	return processCommand("stop", "stop a process and keep it down", "It stays down until \"start\" or \"restart\".",
		func(ctx context.Context, _ *cli, control processes, name string) (string, error) {
			return "is down.", control.Stop(ctx, name)
		})
}

func startCommand() command {
	return processCommand("start", "start a stopped process and wait until it is ready", "",
		func(ctx context.Context, _ *cli, control processes, name string) (string, error) {
			return "is ready.", control.Start(ctx, name)
		})
}

// signalNames are the signals that can be sent by name.
var signalNames = map[string]syscall.Signal{
	"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
	"HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "ABRT": syscall.SIGABRT,
}

func parseSignal(text string) (syscall.Signal, error) {
	if number, err := strconv.Atoi(text); err == nil && number > 0 && number <= 64 {
		return syscall.Signal(number), nil
	}
	if signal, ok := signalNames[strings.TrimPrefix(strings.ToUpper(text), "SIG")]; ok {
		return signal, nil
	}
	return 0, &usageError{fmt.Sprintf("There is no signal %q; try KILL, TERM, STOP or CONT.", text)}
}

// signalName returns the name, such as SIGKILL, or a number.
func signalName(signal syscall.Signal) string {
	for name, known := range signalNames {
		if known == signal {
			return "SIG" + name
		}
	}
	return fmt.Sprintf("signal %d", int(signal))
}

// statusLine is the command that shows the processes of the same stack.
func (c *cli) statusLine() string {
	if c.options.access.target == targetCompose {
		return "go run ./dapr status --target compose"
	}
	return c.run("status")
}

func killCommand() command {
	kill := processCommand("kill", "kill a process without warning, and watch it restart",
		`
PROCESS is a service (orders), its sidecar (orders-daprd), gateway, broker or store: see status. The
launcher starts it again, and nothing accepted is lost. --signal STOP freezes it instead; CONT wakes it.

With --target compose the process in the container is ended from outside, as a crash would, and Docker starts it again.
That needs root, and the Docker engine on this machine.`,
		sendSignal)
	kill.flags = func(c *cli, flags *flag.FlagSet) {
		c.targetFlag(flags)
		flags.StringVar(&c.options.kill.signal, "signal", "KILL", "the signal's `name`: KILL, TERM, STOP, CONT …")
	}
	return kill
}

// sendSignal sends the signal of the command kill to a process.
func sendSignal(ctx context.Context, c *cli, control processes, name string) (did string, err error) {
	signal, err := parseSignal(c.options.kill.signal)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("was sent %s. What becomes of it shows: %s", signalName(signal), c.statusLine()), control.Kill(ctx, name, signal)
}

func versionCommand() command {
	return command{
		name: "version", summary: "show what this is built from",
		run: func(_ context.Context, c *cli, _ *flag.FlagSet) error {
			fmt.Fprintf(c.out, "caravan %s, daprd %s\n", version.Read(), launcher.SidecarVersion)
			return nil
		},
	}
}
