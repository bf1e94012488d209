package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"caravan/dapr/launcher"
)

// upOptions are the flags that describe the stack to start.
type upOptions struct {
	broker, store, daprd, otlp string
	mail, observe              string
	sidecarSpans               float64
	port, replicas             int
	timeout                    time.Duration
	fresh, detach, freePorts   bool
	noLimits, verbose, noSeed  bool
	noConsole, proxies         bool
}

func upCommand() command {
	return command{
		name:    "up",
		summary: "start everything: broker, store, mail server, services, gateway and their sidecars",
		details: `
Starts a broker, a store, a mail server that shows what it gets on a page, five services and the
gateway, each with its sidecar, waits until all are ready, fills the catalogue, makes a customer, a staff member and an admin, places one order and shows
its timeline. Then it shows every program's log until Ctrl-C, which stops everything.

A process that ends is restarted. All state is kept in .dapr, and the next start uses it; --fresh
deletes it first. A page for staff, whose address is printed as Console, shows what runs and what
happens to orders (docs/parts/console.md). A store for log lines and spans runs too, which that page and the commands logs and
trace ask; --observe off leaves it out. Spans go elsewhere with --otlp or ` + otlpVariable + `. With --observe full
a store for metrics runs too, with dashboards on a page of its own.

Servers that already run are used when one of these variables names them:
` + strings.Join(launcher.ServerVariables(), ", ") + ".",
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error { return c.up(ctx) },
		flags: func(c *cli, flags *flag.FlagSet) {
			up := &c.options.up
			stackFlags(up, flags)
			observeFlags(up, flags, launcher.ObserveLogs)
			replicaFlag(up, flags)
			flags.BoolVar(&up.fresh, "fresh", false, "delete the data and secrets of earlier runs first")
			flags.BoolVar(&up.detach, "detach", false, "return once everything is ready, and leave it running")
			flags.Var(number(&up.port, 1, 65535), "port", "the `number` of the gateway's port (default as in dapr/dapr.yaml)")
			flags.BoolVar(&up.freePorts, "free-ports", false, "take free ports, so that two stacks can run side by side")
			flags.BoolVar(&up.noLimits, "no-limits", false, "switch the gateway's rate limits off, as for bench")
			flags.Var(mailServer{&up.mail}, "mail", "a mail server as smtp://[user:password@]host:port, a `URL` (default: SMTP_URL,\n"+
				"which keeps a password out of the list of processes, or a mailbox of the stack)")
			flags.BoolVar(&up.noConsole, "no-console", false, "do not start the page for staff")
			flags.BoolVar(&up.proxies, "proxies", false, "put a proxy before each sidecar, and between it and broker and store, so that\nthe page for staff can cut connections and slow them down")
			flags.BoolVar(&up.noSeed, "no-seed", false, "start with an empty shop: no catalogue, users or order")
			flags.BoolVar(&up.verbose, "verbose", false, "show all that sidecars, broker and store log, not only warnings")
		},
	}
}

// stackFlags declares the flags that up and bench share.
func stackFlags(up *upOptions, flags *flag.FlagSet) {
	up.broker, up.store = launcher.Brokers()[0], launcher.Stores()[0]
	flags.Var(oneOf{&up.broker, launcher.Brokers()}, "broker", "the broker's `name`: "+strings.Join(launcher.Brokers(), ", "))
	flags.Var(oneOf{&up.store, launcher.Stores()}, "store", "the store's `name`: "+strings.Join(launcher.Stores(), ", "))
	flags.StringVar(&up.daprd, "daprd", "", "`path` of the sidecar (default: PATH, ~/.dapr/bin, or built once)")
	up.timeout = launcher.DefaultTimeout
	flags.Var(period(&up.timeout, time.Second, longest), "timeout", "how long servers and then programs may take to be ready, as a `duration`")
	flags.Var(webAddress{&up.otlp, "http://127.0.0.1:4318"}, "otlp", "`URL` spans are sent to, as http://127.0.0.1:4318")
}

// observeFlags declares the flags for the store of log lines and spans. The choice is the default.
func observeFlags(up *upOptions, flags *flag.FlagSet, choice string) {
	up.observe = choice
	flags.Var(oneOf{&up.observe, launcher.ObserveChoices()}, "observe", "`name` of what to start: off; logs, a store for log lines and spans, which takes processor time for each order;\n"+
		"or full, that and a store for metrics with dashboards")
	up.sidecarSpans = 1
	flags.Var(decimal(&up.sidecarSpans, 0.001, 1), "sidecar-spans", "with --observe, of which share of the traces spans of sidecars are stored, as a `number`")
}

// mostReplicas is the largest --replicas: each is ten more processes.
const mostReplicas = 5

// replicaFlag declares the flag for replicas.
func replicaFlag(up *upOptions, flags *flag.FlagSet) {
	up.replicas = 1
	flags.Var(number(&up.replicas, 1, mostReplicas), "replicas", "how many of each service run, a `number`; the gateway stays one")
}

// otlpVariable says where spans are sent, for all programs with OpenTelemetry.
const otlpVariable = "OTEL_EXPORTER_OTLP_ENDPOINT"

// otlpEndpoint is where the user wants spans, "" for the store or nowhere.
func (up *upOptions) otlpEndpoint(getenv func(string) string) (string, error) {
	if up.otlp != "" || getenv(otlpVariable) == "" {
		return up.otlp, nil
	}
	var endpoint string
	if err := (webAddress{&endpoint, "http://127.0.0.1:4318"}).Set(getenv(otlpVariable)); err != nil {
		return "", fmt.Errorf("%s: %w", otlpVariable, err)
	}
	return endpoint, nil
}

// stopTimeout is the time limit for stopping a stack.
const stopTimeout = 45 * time.Second

func (c *cli) up(ctx context.Context) error {
	if err := c.refuseSecond(ctx); err != nil {
		return err
	}
	if c.options.up.detach {
		return c.upDetached(ctx)
	}
	began := time.Now()
	options, err := c.launcherOptions()
	if err != nil {
		return err
	}
	stack, err := launcher.Start(ctx, options)
	if err != nil {
		return advise(err)
	}
	defer c.stop(stack)
	ctx, down := context.WithCancel(ctx)
	defer down()
	served := make(chan error, 1)
	go func() { served <- stack.ServeControl(ctx, down) }()
	if err := c.welcome(ctx, stack, began); err != nil {
		return err
	}
	stack.ShowLogs(true)
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		return err
	}
}

// advise adds to a timeout how to make it longer.
func advise(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w\nOn a busy machine it may take longer: --timeout 15m", err)
	}
	return err
}

// refuseSecond fails when a stack already runs in the folder.
func (c *cli) refuseSecond(ctx context.Context) error {
	control, err := launcher.Connect(ctx, c.dir)
	if err != nil {
		return nil
	}
	report, err := control.Report(ctx)
	if err != nil {
		return nil
	}
	return fmt.Errorf("it is already running: gateway at %s, pid %d, since %s\n"+
		"See it with \"status\", stop it with \"down\", or start another with --dir FOLDER --free-ports",
		report.Gateway, report.PID, report.Since.Local().Format("15:04:05"))
}

func (c *cli) launcherOptions() (launcher.Options, error) {
	up := c.options.up
	endpoint, err := up.otlpEndpoint(os.Getenv)
	options := launcher.Options{
		Root: c.root, Dir: c.dir, Bin: c.bin(), Broker: up.broker, Store: up.store, Mail: up.mail, Daprd: up.daprd, Replicas: up.replicas,
		FreePorts: up.freePorts, Port: up.port, Fresh: up.fresh, Timeout: up.timeout, OTLPEndpoint: endpoint,
		Observe: up.observe, SidecarSpans: up.sidecarSpans, Console: !up.noConsole, Proxies: up.proxies, ProgramProxies: up.proxies,
		Log: c.out, Colour: isTerminal(c.out), Verbose: up.verbose, Quiet: !up.verbose,
	}
	if up.noLimits {
		options.Env = map[string]map[string]string{"gateway": {"CARAVAN_LIMIT_ENABLED": "false"}}
	}
	return options, err
}

// welcome waits until the stack is ready, fills the shop and shows its addresses and users.
func (c *cli) welcome(ctx context.Context, stack *launcher.Stack, began time.Time) error {
	if err := stack.WaitReady(ctx); err != nil {
		return advise(err)
	}
	fmt.Fprintf(c.out, "Everything is ready after %s.\n", time.Since(began).Round(100*time.Millisecond))
	users := []launcher.User{stack.Admin()}
	if !c.options.up.noSeed {
		seeding, cancel := context.WithTimeout(ctx, c.options.up.timeout)
		defer cancel()
		seeded, err := c.seed(seeding, stack)
		if err != nil {
			return fmt.Errorf("filling the shop: %w", err)
		}
		users = seeded
	}
	if err := stack.Publish(users); err != nil {
		return err
	}
	c.showAddresses(stack, users)
	return nil
}

func (c *cli) showAddresses(stack *launcher.Stack, users []launcher.User) {
	w := c.out
	gateway := stack.GatewayURL()
	fmt.Fprintf(w, "\n  Gateway      %s  (try %s/v1/products, /healthz, /openapi.json)\n", gateway, gateway)
	fmt.Fprintf(w, "  Broker       %s\n  Store        %s\n", stack.BrokerKind(), stack.StoreKind())
	if server := stack.MailServer(); server != "" {
		fmt.Fprintf(w, "  Mail         %s\n", cmp.Or(stack.MailURL(), server))
	}
	if page := stack.ConsoleURL(); page != "" {
		fmt.Fprintf(w, "  Console      %s  (sign in as staff)\n", page)
	}
	if logs := stack.LogsURL(); logs != "" {
		fmt.Fprintf(w, "  Logs         %s/select/vmui/\n", logs)
	}
	if metrics := stack.MetricsURL(); metrics != "" {
		fmt.Fprintf(w, "  Metrics      %s\n", launcher.MetricsPage(metrics))
	}
	for _, status := range stack.Processes() {
		if status.URL != "" && status.Name != "gateway" && status.URL != stack.ConsoleURL() && status.Name != launcher.MailProcess {
			fmt.Fprintf(w, "  %-20s %s\n", status.Name, status.URL)
		}
	}
	fmt.Fprintln(w)
	for _, user := range users {
		fmt.Fprintf(w, "  %-9s %s  password %s\n", user.Role, user.Email, user.Password)
	}
	fmt.Fprintf(w, "\n  For programs: %s\n", filepath.Join(stack.Dir(), "run", "stack.json"))
	fmt.Fprintf(w, "  Break something: %s   (also: status, logs, restart, bench)\n", c.run("kill payments"))
	fmt.Fprintf(w, "  Stop: %s, or Ctrl-C where up runs in the foreground\n\n", c.run("down"))
}

// stop stops the stack. A second signal stops it immediately.
func (c *cli) stop(stack *launcher.Stack) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	ctx, release := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer release()
	fmt.Fprintln(c.out, "Stopping …")
	began := time.Now()
	stack.Stop(ctx)
	fmt.Fprintf(c.out, "Stopped after %s. Nothing is left running.\n", time.Since(began).Round(100*time.Millisecond))
}

// upDetached starts this program again as a process with its own session, shows its output until the stack is ready,
// and leaves it running.
func (c *cli) upDetached(ctx context.Context) error {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("preparing the stack's folder: %w", err)
	}
	// A launcher that was killed leaves this file behind, and the new one appears when the new launcher is ready.
	if err := os.Remove(filepath.Join(c.dir, "run", "stack.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("clearing what the last run left: %w", err)
	}
	path := filepath.Join(c.dir, "launcher.log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening the launcher's log: %w", err)
	}
	defer log.Close()
	child, err := c.spawnDetached(log)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var shown int64
	for {
		shown += c.copyNew(path, shown)
		if metadata, err := launcher.ReadMetadata(c.dir); err == nil && len(metadata.Processes) > 0 {
			c.copyNew(path, shown)
			fmt.Fprintf(c.out, "  It keeps running (pid %d); its log is %s\n", child.Process.Pid, path)
			return nil
		}
		select {
		case err := <-ended:
			c.copyNew(path, shown)
			return errors.Join(errFailed, err)
		case <-ctx.Done():
			_ = child.Process.Signal(syscall.SIGTERM)
			<-ended
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func (c *cli) spawnDetached(log *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	var args []string
	for _, arg := range withoutFlag(os.Args[1:], "mail") {
		if arg != "--detach" && arg != "-detach" && arg != "--detach=true" && arg != "-detach=true" {
			args = append(args, arg)
		}
	}
	child := exec.Command(self, args...)
	child.Stdout, child.Stderr = log, log
	if mail := c.options.up.mail; mail != "" {
		// As an argument, a password would be in the list of processes while the stack runs.
		child.Env = append(os.Environ(), "SMTP_URL="+mail)
	}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return nil, fmt.Errorf("starting in the background: %w", err)
	}
	return child, nil
}

// copyNew writes the content of a file from an offset on, and returns its length.
func (c *cli) copyNew(path string, from int64) int64 {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer file.Close()
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return 0
	}
	n, _ := io.Copy(c.out, file)
	return n
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
