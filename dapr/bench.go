package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"caravan/dapr/bench"
	"caravan/dapr/launcher"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	up             upOptions
	duration       time.Duration
	clients        string
	json, compare  string
	streams        int
	rate           float64
	messages       string
	against        string
	rounds         int
	history        int
	users          int
	products       int
	explicitServer bool
	loads          []string // the flags that were given and have no meaning with streams
}

func benchCommand() command {
	return command{
		name: "bench", summary: "measure a stack: orders per second, reads, memory, processor time",
		details: `
Measures orders per second, from POST to the end of the order, at 1, 16 and 64 clients; catalogue reads; the time
of each step of an order; and the memory of every process. Each client is a user with a wallet.
The result is kept as JSON under .dapr/bench. --compare shows it beside an earlier one.

--messages says what users get about an order beside the entry in their inbox: none, an e-mail, or a push message to one device,
for which the benchmark is the push service. The processor time of an order contains that of its messages, so the
difference between two runs is what a message costs. A stack that runs takes push messages to this machine only with
CARAVAN_PUSH_ALLOW_LOCAL=true in notifications.

Without --broker, --store and --replicas it measures the stack that runs, which should have been started with
"up --no-limits". Otherwise it starts a stack of its own on free ports, and stops it.

With --target compose it measures that of docker compose (CARAVAN_LIMIT_ENABLED=false switches its rate limits off), and
with --gateway URL any other; there memory, processor time and the calls behind the gateway are unknown. It creates
users and products in the shop that it measures. It reads passwords as "audit" does.

--against measures two variants in turn (other, this, other, this), so that what else the machine does affects both, and prints the
medians and ratios of all that was measured. The other variant is a revision (a branch, tag or commit), which is built under .dapr/bench, or
this tree with the flags in a file, one a line, as --store=redis. Each run starts a stack of its own. After an interrupt it
shows the complete rounds.

--history N places N orders, in ten slices, at the largest number of --clients, and prints rate and processor time of each slice beside the
first: what earlier orders cost later ones. --users and --products say who places them and what is ordered; with 1 and 1 all are of one
user and for one product. It is best on a fresh stack.

--streams N measures event streams (GET /v1/notifications/stream) instead: those of N users, who place --rate orders a second.
It reports how many streams were open at once, events received, missing and out of order compared with the API, connections that
were resumed, the time from an order's confirmation to its event, and the memory of the processes. It fails if an event is missing.
An interrupt ends it early with the result so far. Users of the launcher's stacks have no accounts, so that no passwords are hashed
and no e-mails are sent; their tokens are signed with the key of the stack. Elsewhere they are registered, and the clocks of both
machines must agree. Limits of open files: 2N + 1000, for this program and for the gateway.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			c.loginFlags(flags)
			o := &c.options.bench
			stackFlags(&o.up, flags)
			observeFlags(&o.up, flags, launcher.ObserveOff)
			replicaFlag(&o.up, flags)
			o.duration = 15 * time.Second
			flags.Var(period(&o.duration, time.Second, longest), "duration", "how long each load lasts, as a `duration`")
			flags.StringVar(&o.clients, "clients", "1,16,64", "numbers of clients, as a `list`")
			flags.Var(number(&o.streams, 1, bench.MaxStreams), "streams", "measure event streams, a `number` of them")
			flags.Var(decimal(&o.rate, 0.1, bench.MaxRate), "rate", "with --streams: orders placed a second, a `number`; without it half of the rate that is measured without streams")
			o.messages = bench.MessagesEmail
			flags.Var(oneOf{&o.messages, bench.MessageChoices()}, "messages", "what users get about their orders, a `name`: "+strings.Join(bench.MessageChoices(), ", "))
			flags.StringVar(&o.json, "json", "", "also write the result to this `file`")
			flags.StringVar(&o.against, "against", "", "measure another variant in turn with this one: the `name` of a revision of the repository, or of a file with flags")
			o.rounds = 3
			flags.Var(number(&o.rounds, 1, bench.MaxRounds), "rounds", "with --against: how often each variant is measured, a `number`")
			flags.Var(number(&o.history, bench.HistorySlices, bench.MaxHistory), "history", "measure what earlier orders cost later ones, over a `number` of orders")
			o.users, o.products = 64, bench.MaxProducts
			flags.Var(number(&o.users, 1, bench.MaxClients), "users", "with --history: a `number` of users")
			flags.Var(number(&o.products, 1, bench.MaxProducts), "products", "with --history: a `number` of products")
			flags.StringVar(&o.compare, "compare", "", "show the result beside that of an earlier `file`")
		},
		run: func(ctx context.Context, c *cli, flags *flag.FlagSet) error {
			flags.Visit(func(f *flag.Flag) {
				if f.Name == "broker" || f.Name == "store" || f.Name == "replicas" {
					c.options.bench.explicitServer = true
				}
				if f.Name == "clients" || f.Name == "compare" || f.Name == "against" {
					c.options.bench.loads = append(c.options.bench.loads, "--"+f.Name)
				}
			})
			return c.bench(ctx, flags)
		},
	}
}

func (c *cli) bench(ctx context.Context, flags *flag.FlagSet) error {
	switch o := c.options.bench; {
	case o.streams > 0 && len(o.loads) > 0:
		return &usageError{"bench: do not give " + strings.Join(o.loads, " and ") + " with --streams."}
	case o.streams > 0:
		return c.benchStreams(ctx)
	case o.history > 0:
		return c.benchHistory(ctx)
	case o.rate > 0:
		return &usageError{"bench: --rate is for --streams."}
	}
	if c.options.bench.against != "" {
		if c.options.bench.compare != "" || c.options.access.elsewhere() {
			return &usageError{"bench: --against starts stacks of its own; do not give --compare, --target or --gateway with it."}
		}
		return c.benchAgainst(ctx, flags)
	}
	loads, err := parseClients(c.options.bench.clients)
	if err != nil {
		return err
	}
	var before *bench.Result
	if file := c.options.bench.compare; file != "" {
		if before, err = bench.Read(file); err != nil {
			return err
		}
	}
	stack, release, err := c.benchTarget(ctx)
	if err != nil {
		return err
	}
	defer release()
	result, err := bench.Run(ctx, stack, bench.Options{Root: c.root, Clients: loads, Duration: c.options.bench.duration, Messages: c.options.bench.messages, Out: c.out})
	if err != nil {
		return err
	}
	result.Show(c.out, before)
	files := []string{filepath.Join(c.dir, "bench", result.FileName())}
	if c.options.bench.json != "" {
		files = append(files, c.options.bench.json)
	}
	if err := result.Keep(files...); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "The result is in %s\n", strings.Join(files, " and "))
	return nil
}

// benchTarget returns the running stack, or one started for the benchmark.
func (c *cli) benchTarget(ctx context.Context) (bench.Target, func(), error) {
	o := c.options.bench
	if c.options.access.elsewhere() {
		if o.explicitServer {
			return bench.Target{}, nil, &usageError{"bench: --broker, --store and --replicas are for a stack of its own; do not give --target or --gateway with them."}
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
		Observe: o.up.observe, SidecarSpans: o.up.sidecarSpans, Replicas: o.up.replicas,
		Log: c.out, Quiet: true,
		Env: map[string]map[string]string{
			"gateway": {"CARAVAN_LIMIT_ENABLED": "false"}, "notifications": {"CARAVAN_PUSH_ALLOW_LOCAL": "true"},
		},
	}
	stack, err := launcher.Start(ctx, options)
	if err != nil {
		return bench.Target{}, nil, advise(err)
	}
	if err := stack.WaitReady(ctx); err != nil {
		c.stop(stack)
		return bench.Target{}, nil, advise(err)
	}
	began := time.Now()
	sign, err := signer(stack.Dir())
	if err != nil {
		c.stop(stack)
		return bench.Target{}, nil, err
	}
	people := shop{gateway: stack.GatewayURL(), people: []launcher.User{stack.Admin()}, source: stack.Dir()}
	return bench.Target{
		Gateway: people.gateway, SignIn: people.signIn, Dir: stack.Dir(), Broker: stack.BrokerKind(), Store: stack.StoreKind(), Logs: launcherLogs(stack.Dir()),
		Report: func(context.Context) (launcher.Report, error) { return stack.Report(began), nil }, Sign: sign,
	}, func() { c.stop(stack) }, nil
}

func (c *cli) runningTarget(ctx context.Context, control *launcher.Control) (bench.Target, error) {
	found, err := c.shop(ctx)
	if err != nil {
		return bench.Target{}, err
	}
	metadata, err := launcher.ReadMetadata(c.dir)
	if err != nil {
		return bench.Target{}, err
	}
	sign, err := signer(c.dir)
	if err != nil {
		return bench.Target{}, err
	}
	return bench.Target{
		Gateway: found.gateway, SignIn: found.signIn, Sign: sign, Dir: c.dir, Broker: metadata.Broker.Kind, Store: metadata.Store.Kind,
		Report: control.Report, Logs: launcherLogs(c.dir),
	}, nil
}

// remoteTarget returns a stack of docker compose, or one of which only the gateway is known. Then memory, processor
// time and the requests of an order are unknown.
func (c *cli) remoteTarget(ctx context.Context) (bench.Target, error) {
	found, err := c.shop(ctx)
	if err != nil {
		return bench.Target{}, err
	}
	stack := bench.Target{
		Gateway: found.gateway, SignIn: found.signIn, Dir: c.dir, Broker: "unknown broker", Store: "unknown store",
		Report: func(context.Context) (launcher.Report, error) { return launcher.Report{}, nil },
		Logs: func(context.Context, func(launcher.LogLine) bool) ([]launcher.LogLine, error) {
			return nil, nil
		},
	}
	if a := c.options.access; a.target != targetCompose || a.gateway != "" {
		return stack, nil
	}
	project, err := c.composeProject()
	if err != nil {
		return bench.Target{}, err
	}
	report, err := project.Report(ctx)
	if err != nil {
		return bench.Target{}, err
	}
	stack.Broker, stack.Store, stack.Report = imageName(report.Broker), imageName(report.Store), project.Report
	stack.Logs = func(ctx context.Context, accept func(launcher.LogLine) bool) ([]launcher.LogLine, error) {
		return project.ReadLogs(ctx, "", accept)
	}
	return stack, nil
}

// imageName returns the last part of an image's name, without its tag.
func imageName(image string) string {
	name, _, _ := strings.Cut(filepath.Base(image), ":")
	return name
}

func parseClients(text string) ([]int, error) {
	var all []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 || n > bench.MaxClients {
			return nil, &usageError{fmt.Sprintf("--clients %q: want numbers from 1 to %d, as 1,16,64", text, bench.MaxClients)}
		}
		all = append(all, n)
	}
	return all, nil
}
