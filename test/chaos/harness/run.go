package harness

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"caravan/dapr/launcher"
)

// Options say what to run. A zero size means the campaign's own.
type Options struct {
	Campaign string
	Seed     uint64
	Minutes  float64 // how long faults last, if the campaign has no other limit
	Faults   []Kind  // the kinds to choose from; the campaign's when empty

	Orders, Kills int // storm, confirms, broker, rolling: the orders; storm, broker: the kills
	Rounds        int // flash, rolling
	Buyers, Units int // flash
	Keys, Posts   int // keys
	Customers     int
	Rate          float64       // orders a second
	Gap           time.Duration // mean time between two faults
	Hold          time.Duration // outages: how long each dependency is unavailable
	Processes     []string      // outages: all but the gateway when empty
	Share         float64       // confirms: the share of confirmations that are cut
	NoFaults      bool          // soak

	// Deadline is how long everything may take to finish by itself after the last fault.
	Deadline time.Duration
	// Progress is the time between two lines of progress; 0 is 5 s.
	Progress time.Duration
	// Dir is where the report and the log of operations are written. "" writes none.
	Dir string
	Out io.Writer
	// Command is the command that repeats the run, for the report.
	Command string
}

// StackOptions say what stack to break.
type StackOptions struct {
	Root, Dir     string
	Bin           string        // as in launcher.Options
	Timeout       time.Duration // as in launcher.Options
	Broker, Store string
	Daprd         string
	Replicas      int  // of every program; 0 is 1
	Quick         bool // short intervals as in tests: periodic work runs every second
	// EagerPublishers lets the sidecars that only publish connect again at once after a cut. The campaign confirms
	// needs it, because otherwise most events would wait and not be published.
	EagerPublishers bool
	Log             io.Writer
}

// System is a stack and what the faults need.
type System struct {
	stack   *launcher.Stack // nil for one that runs elsewhere
	site    Site
	options StackOptions
	targets Targets
}

// smallDisk is the size of the disk for the store's files, in bytes.
const smallDisk = 512 << 20

// Start starts a stack for a campaign.
func Start(ctx context.Context, o StackOptions) (*System, error) {
	apps, err := launcher.Apps(o.Root)
	if err != nil {
		return nil, err
	}
	options := launcher.Options{
		Root: o.Root, Dir: o.Dir, Bin: o.Bin, Broker: o.Broker, Store: o.Store, Daprd: o.Daprd, Timeout: o.Timeout, FreePorts: true, Fresh: true,
		Proxies: true, SmallDisk: smallDisk, Env: environment(apps, o.Quick), AppReplicas: map[string]int{},
		Settings: map[string]map[string]string{}, Log: o.Log, Quiet: true,
	}
	for _, app := range apps {
		options.AppReplicas[app] = o.Replicas
	}
	if broker, err := launcher.BrokerAtHand(o.Broker); o.EagerPublishers && err == nil && launcher.HasBrokerFaults(broker) {
		for _, connection := range publishers {
			options.Settings[connection] = map[string]string{"reconnectWaitSeconds": "0"}
		}
	}
	stack, err := launcher.Start(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("starting the stack: %w", err)
	}
	s := &System{stack: stack, options: o}
	if err := stack.WaitReady(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("waiting for the stack: %w", err)
	}
	s.targets = s.findTargets()
	s.site = Site{Staff: stack.Admin(), Broker: stack.BrokerKind(), Store: stack.StoreKind()}
	if s.site.Gateways, err = gatewaysOf(stack); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// gatewaysOf are the addresses of all replicas of the gateway.
func gatewaysOf(stack *launcher.Stack) (gateways []*url.URL, err error) {
	for _, p := range stack.Processes() {
		if p.Name != "gateway" && (!strings.HasPrefix(p.Name, "gateway-") || isSidecar(p.Name)) {
			continue
		}
		address, err := url.Parse(p.URL)
		if err != nil {
			return nil, fmt.Errorf("reading the address of %s: %w", p.Name, err)
		}
		gateways = append(gateways, address)
	}
	return gateways, nil
}

// environment switches the limits for callers off, and shortens intervals if quick is set.
func environment(apps []string, quick bool) map[string]map[string]string {
	env := make(map[string]map[string]string)
	for _, app := range apps {
		env[app] = map[string]string{}
		if quick {
			env[app] = map[string]string{
				"CARAVAN_FEED_BUCKET": "1s", "CARAVAN_FEED_SETTLE": "6s", "CARAVAN_FEED_PULL_INTERVAL": "1s",
			}
		}
	}
	if env["gateway"] != nil {
		env["gateway"]["CARAVAN_LIMIT_ENABLED"] = "false"
	}
	return env
}

// Close stops the stack.
func (s *System) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.stack.Stop(ctx)
}

// Kill ends the stack at once, without an orderly stop.
func (s *System) Kill() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.stack.Stop(ctx)
}

// findTargets are the targets of the running stack.
func (s *System) findTargets() Targets {
	var names []string
	for _, p := range s.stack.Processes() {
		names = append(names, p.Name)
	}
	t := sortTargets(names)
	t.Connections = s.stack.Connections()
	t.Broker = s.stack.CanBreakBroker() == nil
	t.Disk = s.stack.CanFillDisk() == nil
	return t
}

func sortTargets(names []string) Targets {
	var t Targets
	slices.Sort(names)
	for _, name := range names {
		switch {
		case name == "broker" || name == "store":
			t.Servers = append(t.Servers, name)
		case strings.HasPrefix(name, "broker-"): // a helper process of the broker
		case name == launcher.MailProcess: // no order waits for an e-mail
		case isSidecar(name):
			t.Sidecars = append(t.Sidecars, name)
		default:
			t.Programs = append(t.Programs, name)
		}
	}
	return t
}

// Expect returns the targets that a stack will have, to show a schedule before there is a stack.
func Expect(o StackOptions) (Targets, error) {
	apps, err := launcher.Apps(o.Root)
	if err != nil {
		return Targets{}, err
	}
	broker, err := launcher.BrokerAtHand(o.Broker)
	if err != nil {
		return Targets{}, err
	}
	store := o.Store
	if store == "" {
		store = launcher.Stores()[0]
	}
	names := []string{"broker"}
	if launcher.HasServer(store) {
		names = append(names, "store")
	}
	var connections []string
	for _, app := range apps {
		for number := range max(1, o.Replicas) {
			name := app
			if number > 0 {
				name = fmt.Sprintf("%s-%d", app, number+1)
			}
			names = append(names, name, name+"-daprd")
		}
		for what, kind := range map[string]string{"broker": broker, "store": store} {
			if launcher.CanProxy(kind) && app != "gateway" {
				connections = append(connections, app+":"+what)
			}
		}
	}
	t := sortTargets(names)
	slices.Sort(connections)
	t.Connections = connections
	t.Broker = launcher.HasBrokerFaults(broker)
	t.Disk = !launcher.HasServer(store) && os.Geteuid() == 0
	return t, nil
}

// run is one campaign on one stack.
type run struct {
	Options
	system   *System
	stack    *launcher.Stack
	report   *Report
	shop     *shop
	injector *injector
	findings findings
	began    time.Time
}

// Run runs one campaign on the stack. The error says why it could not run. Violations are in the report.
func (s *System) Run(ctx context.Context, o Options) (*Report, error) {
	campaign, err := campaignOf(o.Campaign)
	if err != nil {
		return nil, err
	}
	if s.stack == nil && !slices.Contains(VisitingCampaigns(), o.Campaign) {
		return nil, fmt.Errorf("campaign %s needs a stack to break; elsewhere there are %s", o.Campaign, strings.Join(VisitingCampaigns(), " and "))
	}
	o = campaign.complete(o)
	r := &run{
		Options: o, system: s, stack: s.stack,
		report: &Report{
			Campaign: o.Campaign, Seed: o.Seed, Date: time.Now().UTC(), Machine: machine(), Command: o.Command,
			Broker: s.site.Broker, Store: s.site.Store, Where: s.site.Where, Numbers: map[string]float64{},
		},
	}
	r.injector = newInjector(s.stack, r.say)
	r.say("Campaign %s, seed %d, on %s.", o.Campaign, o.Seed, r.report.place())
	if err := campaign.run(ctx, r); err != nil {
		return nil, fmt.Errorf("campaign %s: %w", o.Campaign, err)
	}
	r.report.Interrupt = ctx.Err() != nil
	return r.report, r.conclude()
}

// say prints a message for a person.
func (r *run) say(format string, args ...any) {
	if r.Out != nil {
		fmt.Fprintf(r.Out, format+"\n", args...)
	}
}

// schedule makes the schedule of the campaign and records which faults it leaves out.
func (r *run) schedule(plan Plan) []Event {
	if r.stack == nil {
		r.notice("nothing is broken, as the system runs elsewhere")
		return nil
	}
	for _, kind := range plan.Kinds {
		if why := r.system.targets.Missing(kind); why != "" {
			r.notice("fault %s is left out: %s", kind, why)
		}
	}
	plan.Targets, plan.Seed = r.system.targets, r.Seed
	r.report.Schedule = plan.Schedule()
	return r.report.Schedule
}

func (r *run) notice(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.report.Notices = append(r.report.Notices, text)
	r.say("Notice: %s.", text)
}

// open opens the run's shop.
func (r *run) open(ctx context.Context, size shopSize) (err error) {
	if r.shop, err = openShop(ctx, r.system.site, size); err != nil {
		return err
	}
	r.began = time.Now()
	return nil
}

// tell prints progress at intervals until the context ends.
func (r *run) tell(ctx context.Context) {
	every := r.Progress
	if every == 0 {
		every = 5 * time.Second
	}
	for pause(ctx, every) {
		q := countRequests(r.shop.log.of(""))
		fired := r.injector.history()
		kills := 0
		for _, n := range killsOf(fired) {
			kills += n
		}
		line := fmt.Sprintf("%6s  ", time.Since(r.began).Round(time.Second))
		if r.stack != nil {
			line += fmt.Sprintf("%d faults (%d kills), ", len(fired), kills)
		}
		line += fmt.Sprintf("%d orders, %d requests, %d failed attempts, %d retries", len(r.shop.log.of("order")), q.Attempts, q.Failed, q.Retries)
		if len(fired) > 0 {
			line += "; last: " + fired[len(fired)-1].Label
		}
		r.say("%s", line)
	}
}

// under runs the faults of a schedule and a load at the same time, until both have ended. After the faults the load
// continues until its orders are placed.
func (r *run) under(ctx context.Context, schedule []Event, work func(ctx context.Context)) {
	telling, quiet := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { r.tell(telling) })
	var both sync.WaitGroup
	both.Go(func() { r.injector.run(ctx, schedule) })
	both.Go(func() { work(ctx) })
	both.Wait()
	quiet()
	beside.Wait()
	r.report.Seconds = time.Since(r.began).Seconds()
}

// settle waits until everything has ended and checks the system. It also runs after the user has ended the run, because
// the user wants a report.
func (r *run) settle(ctx context.Context) *settler {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*r.Deadline)
	defer cancel()
	healed := r.report.countFaults(r.injector.history())
	if r.stack != nil {
		r.say("All faults are healed.")
	}
	r.say("Waiting until every order has ended …")
	s := &settler{shop: r.shop, deadline: r.Deadline, findings: &r.findings, say: r.say}
	s.settle(ctx)
	r.report.Audit = s.audit.Counts
	r.report.countOrders(r.shop.log.of("order"), s.orders, healed)
	r.report.Requests = countRequests(r.shop.log.of(""))
	return s
}

// conclude writes the report.
func (r *run) conclude() error {
	r.report.Violations = r.findings.list()
	r.report.Passed = len(r.report.Violations) == 0
	if r.Out != nil {
		r.report.Text(r.Out)
	}
	if r.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return fmt.Errorf("keeping the report: %w", err)
	}
	name := fmt.Sprintf("%s-%d-%s", r.Campaign, r.Seed, r.report.Date.Format("20060102T150405"))
	if r.shop != nil {
		if err := r.shop.log.write(filepath.Join(r.Dir, name+".ops.jsonl")); err != nil {
			return err
		}
	}
	path := filepath.Join(r.Dir, name+".json")
	if err := r.report.Write(path); err != nil {
		return err
	}
	r.say("Report: %s", path)
	return nil
}
