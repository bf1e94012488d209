package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"caravan/dapr/launcher/manifest"
	"caravan/test/chaos/harness"
)

// chaosOptions are the flags of chaos.
type chaosOptions struct {
	harness.Options
	up     upOptions
	faults string
	dryRun bool
	quick  bool
	keep   bool
}

func chaosCommand() command {
	names, summaries := harness.Campaigns()
	var list strings.Builder
	for _, name := range names {
		fmt.Fprintf(&list, "  %-9s %s\n", name, summaries[name])
	}
	return command{
		name: "chaos", summary: "start a stack, break it while clients use it, and check that nothing is lost",
		details: `
Starts a stack on free ports in a temporary folder, lets clients register, pay in, order, cancel and be
refunded, breaks processes, connections and servers meanwhile, heals everything, waits until every order
has ended by itself, and compares the results: whatever was acknowledged exists, each key has one order, money
and stock add up, each fact has one notice, and the system's own audit finds nothing. Exits with 1 when
a check fails.

Campaigns:
` + list.String() + `
The same --seed with the same sizes makes the same schedule; --dry-run shows it. The logs show faults as lines
of the process "faults". The report and every request are kept under .dapr/chaos. Ctrl-C ends the
load, heals, and still compares and reports; a second Ctrl-C ends at once.

With --target compose or --gateway URL the clients of storm or keys use the stack that runs there, and the books are
compared; nothing is broken by itself, so break it with "kill --target compose" meanwhile. Start its gateway with
CARAVAN_LIMIT_ENABLED=false. It reads passwords as "audit" does.

Faults: ` + kindList() + ".",
		flags: func(c *cli, flags *flag.FlagSet) {
			o := &c.options.chaos
			c.loginFlags(flags)
			stackFlags(&o.up, flags)
			o.Campaign = names[0]
			flags.Var(oneOf{&o.Campaign, names}, "campaign", "the `name` of the campaign: "+strings.Join(names, ", "))
			flags.Var(decimal(&o.Minutes, 0.01, longest.Minutes()), "minutes", "how long faults continue, as a `number` of minutes (default 2)")
			flags.Uint64Var(&o.Seed, "seed", 0, "the `number` that determines schedule and load (default: from the time)")
			flags.StringVar(&o.faults, "faults", "", "the kinds of faults, as a `list` (default: those of the campaign)")
			flags.BoolVar(&o.dryRun, "dry-run", false, "show the schedule and start nothing")
			flags.Var(number(&o.Orders, 1, many), "orders", "`number` of orders that are placed (storm, confirms, broker, rolling)")
			flags.Var(number(&o.Kills, 1, many), "kills", "continue until this `number` of processes (storm), or of brokers (broker), was killed")
			flags.Var(number(&o.Rounds, 1, many), "rounds", "`number` of sales (flash) or of restarts of everything (rolling)")
			flags.Var(number(&o.Buyers, 1, many), "buyers", "`number` of buyers at once (flash)")
			flags.Var(number(&o.Units, 1, many), "units", "`number` of units for sale (flash)")
			flags.Var(number(&o.Keys, 1, many), "keys", "`number` of idempotency keys (keys)")
			flags.Var(number(&o.Posts, 1, many), "posts", "`number` of times that each key is posted at once (keys)")
			flags.Var(number(&o.Customers, 1, many), "customers", "`number` of customers (default 16)")
			flags.Var(decimal(&o.Rate, 0.01, 10_000), "rate", "`number` of orders a second")
			flags.Var(period(&o.Gap, time.Millisecond, longest), "gap", "mean time between two faults, as a `duration`")
			flags.Var(period(&o.Hold, time.Second, longest), "hold", "how long each dependency is unavailable, as a `duration` (outages; default 20s)")
			flags.Var(decimal(&o.Share, 0.001, 1), "share", "share of the confirmations that are cut, as a `number` up to 1 (confirms)")
			flags.BoolVar(&o.NoFaults, "no-faults", false, "soak without faults")
			flags.Var(period(&o.Deadline, time.Second, longest), "deadline", "how long everything may take to finish after the last fault, as a `duration` (default 5m)")
			flags.BoolVar(&o.quick, "quick", false, "run periodic work every second, as tests do")
			flags.BoolVar(&o.keep, "keep", false, "keep the stack's folder with its data and logs")
		},
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error { return c.chaos(ctx) },
	}
}

func kindList() string {
	var names []string
	for _, kind := range harness.Kinds() {
		names = append(names, string(kind))
	}
	return strings.Join(names, ", ")
}

func parseKinds(text string) ([]harness.Kind, error) {
	var kinds []harness.Kind
	for _, name := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		kind := harness.Kind(name)
		if !slices.Contains(harness.Kinds(), kind) {
			hint := ""
			if nearest := manifest.Nearest(name, strings.Split(kindList(), ", ")); nearest != "" {
				hint = fmt.Sprintf(" Did you mean %q?", nearest)
			}
			return nil, &usageError{fmt.Sprintf("There is no fault %q.%s\nFaults: %s", name, hint, kindList())}
		}
		kinds = append(kinds, kind)
	}
	return kinds, nil
}

func (c *cli) chaos(ctx context.Context) error {
	o := &c.options.chaos
	var err error
	if o.Options.Faults, err = parseKinds(o.faults); err != nil {
		return err
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano() % 1_000_000_007)
	}
	o.Out, o.Dir, o.Command = c.out, filepath.Join(c.dir, "chaos"), chaosCommandLine(o.Seed)
	stack := harness.StackOptions{
		Root: c.root, Bin: c.bin(), Broker: o.up.broker, Store: o.up.store, Daprd: o.up.daprd, Timeout: o.up.timeout, Log: c.out, Quick: o.quick,
		Replicas: harness.Replicas(o.Campaign), EagerPublishers: o.Campaign == "confirms",
	}
	if c.options.access.elsewhere() {
		return c.visitChaos(ctx)
	}
	if c.options.access.email != "" {
		return &usageError{"chaos: --email needs --target compose or --gateway; a stack of its own has people of its own."}
	}
	if o.dryRun {
		return c.showSchedule(stack)
	}
	return c.runChaos(ctx, stack)
}

// chaosCommandLine is the command that repeats this run.
func chaosCommandLine(seed uint64) string {
	line := "go run ./dapr " + strings.Join(os.Args[1:], " ")
	if !strings.Contains(line, "-seed") {
		line += fmt.Sprintf(" --seed %d", seed)
	}
	return line
}

func (c *cli) showSchedule(stack harness.StackOptions) error {
	o := c.options.chaos
	targets, err := harness.Expect(stack)
	if err != nil {
		return err
	}
	schedule, err := harness.Preview(o.Options, targets)
	if err != nil {
		return err
	}
	for _, kind := range o.Options.Faults {
		if why := targets.Missing(kind); why != "" {
			fmt.Fprintf(c.out, "Notice: fault %s is left out: %s.\n", kind, why)
		}
	}
	fmt.Fprintf(c.out, "Campaign %s, seed %d: %s.\n", o.Campaign, o.Seed, counted(len(schedule), "scheduled fault"))
	kills := 0
	for _, event := range schedule {
		kills += event.Kills()
		fmt.Fprintf(c.out, "%10s  %s\n", event.At.Round(time.Millisecond), event)
	}
	fmt.Fprintf(c.out, "Processes that are killed: %d.\n", kills)
	return nil
}

// visitChaos generates load on a stack that runs elsewhere and compares its books, as a campaign does. It causes no
// faults itself; a person may cause some at the same time.
func (c *cli) visitChaos(ctx context.Context) error {
	o := c.options.chaos
	const elsewhere = "chaos: with --target compose or --gateway nothing is broken"
	switch {
	case o.dryRun:
		return &usageError{elsewhere + ", so there is no schedule that --dry-run could show. Leave --dry-run out, or show that of a stack of its own: " +
			"go run ./dapr chaos --dry-run"}
	case len(o.Options.Faults) > 0:
		return &usageError{elsewhere + ", so leave --faults out. Break the stack beside it, with: go run ./dapr kill --target compose PROCESS"}
	case !slices.Contains(harness.VisitingCampaigns(), o.Campaign):
		return &usageError{elsewhere + ", so --campaign is " + strings.Join(harness.VisitingCampaigns(), " or ") + "."}
	}
	found, err := c.shop(ctx)
	if err != nil {
		return err
	}
	if _, err := found.signIn(ctx, "staff"); err != nil { // explains what cannot work, before anything is retried
		return err
	}
	gateway, err := url.Parse(found.gateway)
	if err != nil {
		return fmt.Errorf("reading the gateway's address: %w", err)
	}
	staff, _ := userFor(found.people, "staff")
	where := found.gateway
	if c.options.access.target == targetCompose && c.options.access.gateway == "" {
		where = "docker compose"
	}
	report, err := harness.Visit(harness.Site{Gateways: []*url.URL{gateway}, Staff: staff, Where: where}).Run(ctx, o.Options)
	if err != nil {
		return err
	}
	if !report.Passed {
		return errFailed
	}
	return nil
}

// runChaos runs a campaign on its own stack.
func (c *cli) runChaos(ctx context.Context, stack harness.StackOptions) error {
	folder, err := os.MkdirTemp("", "caravan-chaos-*")
	if err != nil {
		return fmt.Errorf("making a folder for the stack: %w", err)
	}
	// A database server that refuses to run as root needs access.
	if err := os.Chmod(folder, 0o755); err != nil {
		return fmt.Errorf("opening the stack's folder: %w", err)
	}
	stack.Dir = folder
	fmt.Fprintf(c.out, "Starting a stack in %s …\n", folder)
	system, err := harness.Start(ctx, stack)
	if err != nil {
		return errors.Join(advise(err), os.RemoveAll(folder))
	}
	failed := true
	defer func() {
		fmt.Fprintln(c.out, "Stopping …")
		system.Close()
		if c.options.chaos.keep || failed {
			fmt.Fprintf(c.out, "The stack's data and logs are kept in %s\n", folder)
			return
		}
		_ = os.RemoveAll(folder)
	}()
	defer atSecondSignal(ctx, func() {
		fmt.Fprintln(c.out, "Ending at once …")
		system.Kill()
		_ = os.RemoveAll(folder)
		os.Exit(exitFailure)
	})()
	report, err := system.Run(ctx, c.options.chaos.Options)
	if err != nil {
		return err
	}
	if failed = !report.Passed; failed {
		return errFailed
	}
	return nil
}

// atSecondSignal calls act when a signal comes after the one that ended the context, until it is released.
func atSecondSignal(ctx context.Context, act func()) (release func()) {
	signals := make(chan os.Signal, 1)
	done := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-ctx.Done():
		case <-done:
			return
		}
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
		defer signal.Stop(signals)
		select {
		case <-signals:
			act()
		case <-done:
		}
	})
	return func() {
		close(done)
		waiting.Wait()
	}
}
