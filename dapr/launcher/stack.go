package launcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/process"

	"golang.org/x/sync/errgroup"
)

// Options say what stack to start. The zero value is the whole stack of the repository of the current directory, with
// the broker and store that are available.
type Options struct {
	Root   string // the repository; found from the current directory when ""
	Dir    string // the stack's state; <Root>/.dapr when ""
	Bin    string // where programs are built; <Root>/.dapr/bin when ""
	Broker string // one of Brokers(); when "" the preferred one that is available
	Store  string // one of Stores(); the first when ""
	Mail   string // a mail server as smtp://[user:password@]host:port; that of SMTP_URL or a private one when ""
	Daprd  string // path of the sidecar; found or built when ""

	FreePorts bool     // take free ports instead of the run file's
	Port      int      // the gateway's port, over the run file's; 0: as there
	Only      []string // start these apps only; all when empty
	Fresh     bool     // delete data and secrets of earlier runs first
	// Replicas is how many of each service run, 1 when 0; the second one is called "<app>-2". AppReplicas is the same for single apps. The
	// gateway is one unless AppReplicas says otherwise: more need a load balancer before them.
	Replicas    int
	AppReplicas map[string]int
	// Timeout is how long a server may take to become ready, and then all
	// programs and sidecars; DefaultTimeout when 0.
	Timeout time.Duration

	// Env adds environment variables to an app's program, by app id.
	Env map[string]map[string]string
	// Program replaces an app's program by another binary; "" keeps it.
	Program func(name string) string
	// Between lets a test put a proxy between each program and its sidecar. It gets their addresses and returns the
	// addresses that each gets of the other.
	Between func(Link) (Link, error)
	// Settings adds settings, by name, to the component that connects an app to a server, such as "orders:broker" or
	// "users:store".
	Settings map[string]map[string]string
	// Proxies puts a proxy between each sidecar and each server, for BreakConnection.
	Proxies bool
	// ProgramProxies puts a proxy between each program and the APIs of its sidecar too. It needs Proxies, and excludes Between.
	ProgramProxies bool
	// SmallDisk puts the database files of a store without a server on a disk of that many bytes, for FillDisk. 0
	// leaves them in the folder.
	SmallDisk int64
	// OTLPEndpoint is where programs and sidecars send spans, such as http://127.0.0.1:4318. They send none when it is
	// "".
	OTLPEndpoint string
	// Observe is one of ObserveChoices: whether log lines, spans and metrics go to stores that are started with the stack. "" is off.
	Observe string
	// SidecarSpans is the share of the traces whose spans of sidecars are stored, above 0 and at most 1. 0 is all.
	SidecarSpans float64

	// Console starts the page for staff.
	Console bool

	Log     io.Writer // what happens, and every program's log lines; nil: nowhere
	Colour  bool      // colour the names before log lines
	Verbose bool      // also show what sidecars and servers log below warnings
	Quiet   bool      // hold log lines back until ShowLogs
}

// DefaultTimeout is for machines that do many other things. A process that fails ends long before that, and then the
// wait ends too.
const DefaultTimeout = 5 * time.Minute

// Brokers are the choices of Options.Broker.
func Brokers() []string { return infra.Brokers() }

// Stores are the choices of Options.Store.
func Stores() []string { return infra.Stores() }

// ServerVariables are the environment variables for servers that already run and replace private ones.
func ServerVariables() []string { return infra.Variables() }

// ErrRunning says that a stack already runs in the folder.
var ErrRunning = errors.New("a stack is already running here")

// Stack is a running stack.
type Stack struct {
	root, dir  string
	options    Options
	plan       *plan
	console    *console
	ports      *process.Ports
	supervisor *process.Supervisor
	broker     infra.Server
	store      infra.Server
	mail       infra.Server // the zero value if no app sends e-mails
	observed   observed     // the zero value without Options.Observe
	consoleURL string       // "" without Options.Console
	proxies    *proxies     // nil without Options.Proxies
	disk       *smallDisk
	sidecar    Sidecar
	version    string // what the programs are built from
	tokens     tokens
	// unsubscribeKey signs the links in e-mails. Mails of an earlier start have some, so it is kept.
	unsubscribeKey string
	// pushKey identifies the shop to push services, see newPushKey.
	pushKey string
	admin   User
	unlock  func() // nil until the folder is claimed
	stopped sync.Once

	mu        sync.Mutex
	processes []*process.Process // in start order
	internal  map[string]string  // where sidecars find each other, by process
	scraped   []scraped          // where metrics are
	users     []User
	published bool
}

// tokens protect the calls between a program and its sidecar.
type tokens struct{ api, app string }

// Start starts a stack and returns when every process has been started. Then the broker and the store are ready;
// WaitReady waits for the programs. If it fails, nothing is left running.
func Start(ctx context.Context, options Options) (*Stack, error) {
	s, err := newStack(options)
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		s.Stop(stopping)
		return nil, err
	}
	return s, nil
}

func newStack(options Options) (*Stack, error) {
	start, err := filepath.Abs(options.Root)
	if err != nil {
		return nil, fmt.Errorf("finding the repository: %w", err)
	}
	root, err := FindRoot(start)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cmp.Or(options.Dir, filepath.Join(root, ".dapr")))
	if err != nil {
		return nil, fmt.Errorf("finding the stack's folder: %w", err)
	}
	if options.Bin, err = filepath.Abs(cmp.Or(options.Bin, BinFolder(filepath.Join(root, ".dapr")))); err != nil {
		return nil, fmt.Errorf("finding the folder of programs: %w", err)
	}
	options.Timeout = cmp.Or(options.Timeout, DefaultTimeout)
	if options.Log == nil {
		options.Log = io.Discard
	}
	if err := errors.Join(checkFolders(root, dir), checkPort(options.Port), checkObserve(options)); err != nil {
		return nil, err
	}
	plan, err := readPlan(filepath.Join(root, "dapr", "dapr.yaml"))
	if err != nil {
		return nil, err
	}
	if err := plan.only(options.Only); err != nil {
		return nil, err
	}
	for name := range options.Env {
		if !slices.Contains(plan.ids(), name) {
			return nil, fmt.Errorf("environment for %q, which is no app of the stack", name)
		}
	}
	s := &Stack{
		root: root, dir: dir, options: options, plan: plan, ports: process.NewPorts(), internal: map[string]string{},
		console: newConsole(options.Log, options.Colour, options.Verbose, plan.ids()),
	}
	s.ShowLogs(!options.Quiet)
	return s, nil
}

func (s *Stack) start(ctx context.Context) error {
	if err := s.prepareFolder(); err != nil {
		return err
	}
	s.supervisor = process.NewSupervisor(filepath.Join(s.dir, "logs"), s.console.line, s.processChanged)
	if err := s.choosePorts(); err != nil {
		return err
	}
	if err := s.makeSecrets(); err != nil {
		return err
	}
	if err := s.chooseServers(); err != nil {
		return err
	}
	if err := s.prepareFaults(); err != nil {
		return err
	}
	if err := errors.Join(s.prepareObserved(), s.prepareConsole()); err != nil {
		return err
	}
	group, building := errgroup.WithContext(ctx)
	group.Go(func() error { return s.startServers(building) })
	group.Go(func() error { return s.startObserved(building) })
	group.Go(func() (err error) {
		if s.sidecar, err = EnsureSidecar(building, s.root, s.options.Bin, s.options.Daprd, s.options.Log); err != nil {
			return err
		}
		s.version = builtFrom(building, s.root).String()
		return s.buildPrograms(building)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if err := s.render(); err != nil {
		return err
	}
	if err := s.startApps(); err != nil {
		return err
	}
	if err := s.startMetrics(ctx); err != nil {
		return err
	}
	return s.startConsole()
}

// prepareFolder locks the stack's folder and removes what the last run left.
func (s *Stack) prepareFolder() error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("preparing the stack's folder: %w", err)
	}
	unlock, err := claim(filepath.Join(s.dir, "lock"))
	if err != nil {
		return err
	}
	s.unlock = unlock
	in := func(name string) string { return filepath.Join(s.dir, name) }
	doomed := []string{in("run"), in("logs.previous")}
	if s.options.Fresh {
		doomed = append(doomed, in("data"), in("secrets"))
	}
	for _, folder := range doomed {
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("clearing what the last run left: %w", err)
		}
	}
	if err := os.Rename(in("logs"), in("logs.previous")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("setting the last run's logs aside: %w", err)
	}
	for _, folder := range []string{in("run"), in("logs"), in("data")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("preparing the stack's folder: %w", err)
		}
	}
	return nil
}

// claim locks the folder against a second stack. It returns ErrRunning when another stack has it.
func claim(path string) (release func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claiming the stack's folder: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("%s: %w", filepath.Dir(path), ErrRunning)
	}
	return func() { _ = file.Close() }, nil
}

func (s *Stack) buildPrograms(ctx context.Context) error {
	began := time.Now()
	var packages []string
	for _, a := range s.plan.Apps {
		if s.options.Program == nil || s.options.Program(a.ID) == "" {
			packages = append(packages, a.Command[2])
		}
	}
	if s.consoleURL != "" {
		packages = append(packages, "./dapr/"+consoleProcess)
	}
	if err := buildPrograms(ctx, s.root, s.options.Bin, packages); err != nil {
		return err
	}
	s.console.say("Programs built in %s; sidecar is daprd %s (%s).", time.Since(began).Round(100*time.Millisecond), s.sidecar.Version, s.sidecar.Source)
	return nil
}

func (s *Stack) add(spec process.Spec) (*process.Process, error) {
	p, err := s.supervisor.Add(spec)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.processes = append(s.processes, p)
	s.mu.Unlock()
	return p, nil
}

// WaitReady waits until every process that should run is ready, but at most Options.Timeout. The error names the first
// process that is not ready, with the end of its log.
func (s *Stack) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range s.all() {
		if p.Status().State == process.Stopped {
			continue
		}
		group.Go(func() error { return p.WaitReady(ctx, 5) })
	}
	return group.Wait()
}

// Stop stops every process: programs, then sidecars, then the servers. It returns when none is left. When the
// context ends, it kills those that are left.
func (s *Stack) Stop(ctx context.Context) { s.stopped.Do(func() { s.stop(ctx) }) }

func (s *Stack) stop(ctx context.Context) {
	s.ports.Release()
	if s.unlock == nil {
		return // another stack has the folder
	}
	defer s.unlock()
	s.mu.Lock()
	s.published = false
	s.mu.Unlock()
	apps, sidecars, servers := s.byKind()
	observers := s.observers()
	// The broker stops before its port mapper.
	slices.Reverse(servers)
	for _, group := range [][]*process.Process{apps, sidecars} {
		closeAll(ctx, group)
	}
	for _, server := range servers {
		server.Close(ctx)
	}
	// They stop last: the collector sends what the others wrote in the end, and the store takes it.
	slices.Reverse(observers)
	for _, observer := range observers {
		observer.Close(ctx)
	}
	s.observed.close()
	if s.supervisor != nil {
		s.supervisor.Close()
	}
	s.endFaults()
	_ = os.Remove(s.metadataFile())
}

// ShowLogs shows log lines on Options.Log from now on, or holds them back.
func (s *Stack) ShowLogs(show bool) { s.console.mute(!show) }

// Dir is the stack's folder.
func (s *Stack) Dir() string { return s.dir }

// GatewayURL is the base URL of the public API, "" without a gateway.
func (s *Stack) GatewayURL() string {
	for _, a := range s.plan.Apps {
		if a.ID == "gateway" {
			return fmt.Sprintf("http://127.0.0.1:%d", a.Port)
		}
	}
	return ""
}

// BrokerKind is the kind of broker as in Options.Broker, never "auto".
func (s *Stack) BrokerKind() string { return s.broker.Kind }

// StoreKind is the kind of store as in Options.Store.
func (s *Stack) StoreKind() string { return s.store.Kind }

// APIToken is the token that a caller of a sidecar sends as dapr-api-token.
func (s *Stack) APIToken() string { return s.tokens.api }

// AppToken is the token that a sidecar sends to its program as dapr-api-token.
func (s *Stack) AppToken() string { return s.tokens.app }

// Admin is the first administrator, which the users service creates at start.
func (s *Stack) Admin() User { return s.admin }
