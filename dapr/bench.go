package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/shopclient"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	up             upOptions
	duration       time.Duration
	clients        string
	json, compare  string
	explicitServer bool
}

func benchCommand() command {
	return command{
		name: "bench", summary: "measure the running stack, or one started for it: orders, reads, memory, hops",
		details: `
Measures orders per second from POST to their end at 1, 16 and 64 clients, each with a user, a wallet and
a taste of its own; catalogue reads; where the time of one order goes; and the memory of every process.
The table is also kept as JSON under .dapr/bench, and --compare sets it beside an earlier one.

Without --broker and --store it measures the stack that runs, which should have been started with
"up --no-limits". Otherwise it starts a stack of its own on free ports, and stops it.

With --target compose it measures that of docker compose (CARAVAN_LIMIT_ENABLED=false switches its rate limits off), and
with --gateway URL any other; there memory, processor time and the calls behind the gateway are unknown. It registers its
users and products in the shop that it measures. Passwords are read as by "audit".`,
		flags: func(c *cli, flags *flag.FlagSet) {
			c.loginFlags(flags)
			o := &c.options.bench
			stackFlags(&o.up, flags)
			o.duration = 15 * time.Second
			flags.Var(period(&o.duration, time.Second, longest), "duration", "how long each load is kept up, as a `duration`")
			flags.StringVar(&o.clients, "clients", "1,16,64", "numbers of clients, as a `list`")
			flags.StringVar(&o.json, "json", "", "also write the result to this `file`")
			flags.StringVar(&o.compare, "compare", "", "show the result beside that of an earlier `file`")
		},
		run: func(ctx context.Context, c *cli, flags *flag.FlagSet) error {
			flags.Visit(func(f *flag.Flag) {
				if f.Name == "broker" || f.Name == "store" {
					c.options.bench.explicitServer = true
				}
			})
			return c.bench(ctx)
		},
	}
}

// Result is what one run of the benchmark found.
type Result struct {
	Date    time.Time `json:"date"`
	Machine Machine   `json:"machine"`
	Broker  string    `json:"broker"`
	Store   string    `json:"store"`

	Orders   []Load   `json:"orders"`
	Reads    []Load   `json:"reads"`
	Unloaded Unloaded `json:"unloaded"`
	// Processor is the processor time one order takes in every process, at the
	// greatest number of clients: unlike rates, it hardly depends on what else
	// the machine does.
	Processor []ProcessTime `json:"processor"`
	AtRest    []ProcessSize `json:"memoryAtRest"`
	AfterUse  []ProcessSize `json:"memoryAfterLoad"`
}

// Machine is what it ran on.
type Machine struct {
	CPU        string `json:"cpu"`
	Processors int    `json:"processors"`
	MemoryMB   int64  `json:"memoryMB"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	Revision   string `json:"revision"`
	Load       string `json:"loadBefore"` // the load averages before it began
}

// Load is one load: how much was done, and how long it took.
type Load struct {
	Name      string         `json:"name"`
	Clients   int            `json:"clients"`
	Seconds   float64        `json:"seconds"`
	Done      int64          `json:"done"`
	PerSecond float64        `json:"perSecond"`
	P50       float64        `json:"p50ms"`
	P99       float64        `json:"p99ms"`
	Worst     float64        `json:"worstms"`
	Outcomes  map[string]int `json:"outcomes"`
}

// Unloaded is one order at a time, and where its time goes.
type Unloaded struct {
	Orders   int     `json:"orders"`
	P50      float64 `json:"p50ms"`
	P99      float64 `json:"p99ms"`
	Timeline []Span  `json:"timeline"` // since placement, by the order's own timeline
	Hops     []Span  `json:"hops"`     // requests each order caused, by the services' logs
}

// Span is the median duration of a step.
type Span struct {
	Name   string  `json:"name"`
	Median float64 `json:"medianms"`
	Calls  float64 `json:"calls"` // per order
}

// ProcessTime is the processor time a process takes for one order.
type ProcessTime struct {
	Name     string  `json:"name"`
	PerOrder float64 `json:"msPerOrder"`
}

// ProcessSize is the memory of a process with its descendants, in MB.
type ProcessSize struct {
	Name string  `json:"name"`
	RSS  float64 `json:"rssMB"`
	PSS  float64 `json:"pssMB"`
}

// target is the stack that is measured.
type target struct {
	shop
	dir           string // keeps the benchmark's users
	broker, store string
	report        func(ctx context.Context) (launcher.Report, error)
	logs          readLogs
}

func (c *cli) bench(ctx context.Context) error {
	loads, err := parseClients(c.options.bench.clients)
	if err != nil {
		return err
	}
	before, err := readResult(c.options.bench.compare)
	if err != nil {
		return err
	}
	load := loadAverage()
	stack, release, err := c.benchTarget(ctx)
	if err != nil {
		return err
	}
	defer release()
	result := Result{Date: time.Now().UTC(), Machine: c.machine(ctx), Broker: stack.broker, Store: stack.store}
	result.Machine.Load = load
	if err := c.measure(ctx, stack, loads, &result); err != nil {
		return err
	}
	c.showResult(result, before)
	return c.keepResult(result)
}

// benchTarget is the running stack, or one started for the benchmark.
func (c *cli) benchTarget(ctx context.Context) (*target, func(), error) {
	o := c.options.bench
	if c.options.access.elsewhere() {
		if o.explicitServer {
			return nil, nil, &usageError{"bench: --broker and --store are for a stack of its own; do not give --target or --gateway with them."}
		}
		stack, err := c.remoteTarget(ctx)
		return stack, func() {}, err
	}
	if !o.explicitServer {
		if control, err := launcher.Connect(ctx, c.dir); err == nil {
			stack, err := c.runningTarget(ctx, control)
			return stack, func() {}, err
		}
	}
	fmt.Fprintln(c.out, "Starting a stack for the benchmark …")
	options := launcher.Options{
		Root: c.root, Dir: filepath.Join(c.dir, "bench", "stack"), Bin: c.bin(), FreePorts: true, Fresh: true,
		Broker: o.up.broker, Store: o.up.store, Daprd: o.up.daprd, Timeout: o.up.timeout, OTLPEndpoint: o.up.otlp,
		Log: c.out, Quiet: true,
		Env: map[string]map[string]string{"gateway": {"CARAVAN_LIMIT_ENABLED": "false"}},
	}
	stack, err := launcher.Start(ctx, options)
	if err != nil {
		return nil, nil, advise(err)
	}
	if err := stack.WaitReady(ctx); err != nil {
		c.stop(stack)
		return nil, nil, advise(err)
	}
	began := time.Now()
	return &target{
		shop: shop{gateway: stack.GatewayURL(), people: []launcher.User{stack.Admin()}, source: stack.Dir()},
		dir:  stack.Dir(), broker: stack.BrokerKind(), store: stack.StoreKind(), logs: launcherLogs(stack.Dir()),
		report: func(context.Context) (launcher.Report, error) { return stack.Report(began), nil },
	}, func() { c.stop(stack) }, nil
}

func (c *cli) runningTarget(ctx context.Context, control *launcher.Control) (*target, error) {
	found, err := c.shop(ctx)
	if err != nil {
		return nil, err
	}
	metadata, err := launcher.ReadMetadata(c.dir)
	if err != nil {
		return nil, err
	}
	return &target{
		shop: found, dir: c.dir, broker: metadata.Broker.Kind, store: metadata.Store.Kind, report: control.Report, logs: launcherLogs(c.dir),
	}, nil
}

// remoteTarget is a stack of docker compose, or one of which the gateway alone is known: then memory, processor time and
// the requests that an order causes are not.
func (c *cli) remoteTarget(ctx context.Context) (*target, error) {
	found, err := c.shop(ctx)
	if err != nil {
		return nil, err
	}
	stack := &target{
		shop: found, dir: c.dir, broker: "unknown broker", store: "unknown store",
		report: func(context.Context) (launcher.Report, error) { return launcher.Report{}, nil },
		logs: func(context.Context, func(launcher.LogLine) bool) ([]launcher.LogLine, error) {
			return nil, nil
		},
	}
	if a := c.options.access; a.target != targetCompose || a.gateway != "" {
		return stack, nil
	}
	project, err := c.composeProject()
	if err != nil {
		return nil, err
	}
	report, err := project.Report(ctx)
	if err != nil {
		return nil, err
	}
	stack.broker, stack.store, stack.report = imageName(report.Broker), imageName(report.Store), project.Report
	stack.logs = func(ctx context.Context, accept func(launcher.LogLine) bool) ([]launcher.LogLine, error) {
		return project.ReadLogs(ctx, "", accept)
	}
	return stack, nil
}

// imageName is the last part of an image's name, without its tag.
func imageName(image string) string {
	name, _, _ := strings.Cut(filepath.Base(image), ":")
	return name
}

func parseClients(text string) ([]int, error) {
	var all []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 || n > maxBenchUsers {
			return nil, &usageError{fmt.Sprintf("--clients %q: want numbers from 1 to %d, as 1,16,64", text, maxBenchUsers)}
		}
		all = append(all, n)
	}
	return all, nil
}

// measure runs every measurement, in an order that lets the first begin at rest.
func (c *cli) measure(ctx context.Context, stack *target, loads []int, result *Result) error {
	shop, err := c.openBenchShop(ctx, stack)
	if err != nil {
		return fmt.Errorf("preparing the benchmark: %w", err)
	}
	if result.AtRest, err = sizes(ctx, stack); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "Placing one order at a time …")
	if result.Unloaded, err = shop.oneByOne(ctx, stack); err != nil {
		return err
	}
	for _, clients := range loads {
		fmt.Fprintf(c.out, "Orders of %s for %s …\n", counted(clients, "client"), c.options.bench.duration)
		before, err := stack.report(ctx)
		if err != nil {
			return err
		}
		load, err := shop.orders(ctx, clients, c.options.bench.duration)
		if err != nil {
			return err
		}
		after, err := stack.report(ctx)
		if err != nil {
			return err
		}
		result.Orders = append(result.Orders, load)
		result.Processor = timePerOrder(before, after, load.Done)
	}
	if strings.HasPrefix(stack.gateway, "https:") {
		fmt.Fprintln(c.out, "Catalogue reads are not measured: their client speaks no TLS.")
	} else {
		fmt.Fprintln(c.out, "Catalogue reads …")
		if result.Reads, err = shop.reads(ctx, min(c.options.bench.duration, 10*time.Second)); err != nil {
			return err
		}
	}
	result.AfterUse, err = sizes(ctx, stack)
	return err
}

func sizes(ctx context.Context, stack *target) ([]ProcessSize, error) {
	report, err := stack.report(ctx)
	if err != nil {
		return nil, err
	}
	all := ProcessSize{Name: "all"}
	var sizes []ProcessSize
	for _, p := range report.Processes {
		size := ProcessSize{Name: p.Name, RSS: megabytes(p.RSS), PSS: megabytes(p.PSS)}
		all.RSS, all.PSS = all.RSS+size.RSS, all.PSS+size.PSS
		sizes = append(sizes, size)
	}
	return append(sizes, all), nil
}

func timePerOrder(before, after launcher.Report, orders int64) []ProcessTime {
	used := map[string]time.Duration{}
	for _, p := range before.Processes {
		used[p.Name] = p.CPU
	}
	all := ProcessTime{Name: "all"}
	var times []ProcessTime
	for _, p := range after.Processes {
		one := ProcessTime{Name: p.Name, PerOrder: inMilliseconds(p.CPU-used[p.Name]) / float64(max(orders, 1))}
		all.PerOrder += one.PerOrder
		times = append(times, one)
	}
	return append(times, all)
}

func megabytes(bytes int64) float64 { return float64(bytes*10>>20) / 10 }

func (c *cli) machine(ctx context.Context) Machine {
	m := Machine{Processors: runtime.NumCPU(), Go: runtime.Version()}
	m.CPU = fieldOf("/proc/cpuinfo", "model name")
	kb, _ := strconv.ParseInt(strings.TrimSuffix(fieldOf("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	m.MemoryMB = kb >> 10
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	revision := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD")
	revision.Dir = c.root
	if output, err := revision.Output(); err == nil {
		m.Revision = strings.TrimSpace(string(output))
	}
	return m
}

// fieldOf is the value behind "name:" in a file of /proc.
func fieldOf(file, name string) string {
	raw, _ := os.ReadFile(file)
	for line := range strings.Lines(string(raw)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func loadAverage() string {
	raw, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(raw))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// keepResult writes the result where later runs can be compared with it.
func (c *cli) keepResult(result Result) error {
	raw, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return fmt.Errorf("keeping the result: %w", err)
	}
	file := filepath.Join(c.dir, "bench", strings.ReplaceAll(fmt.Sprintf("%s-%s-%s.json", result.Date.Format("20060102-150405"), result.Broker, result.Store), " ", "-"))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("keeping the result: %w", err)
	}
	for _, path := range []string{file, c.options.bench.json} {
		if path == "" {
			continue
		}
		if err := os.WriteFile(path, append(raw, '\n'), 0o644); err != nil {
			return fmt.Errorf("keeping the result: %w", err)
		}
		fmt.Fprintf(c.out, "Kept as %s\n", path)
	}
	return nil
}

func readResult(file string) (*Result, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the result to compare with: %w", err)
	}
	var result Result
	if err := json.Unmarshal(raw, &result); err != nil {
		return nil, fmt.Errorf("%s is no result of bench: %w", file, err)
	}
	return &result, nil
}

// errLimited says that the measured gateway limits its callers.
var errLimited = errors.New("the gateway's rate limits are on; start the stack with: go run ./dapr up --no-limits" +
	" (elsewhere, the gateway with CARAVAN_LIMIT_ENABLED=false)")

func limited(err error) error {
	if shopclient.Status(err) == 429 {
		return errLimited
	}
	return err
}
