package launcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"caravan/dapr/launcher/process"
	"caravan/internal/clock"
)

// Report is the state of a stack.
type Report struct {
	PID       int             `json:"pid"` // of the launcher
	Dir       string          `json:"dir"`
	Since     time.Time       `json:"since"`
	Gateway   string          `json:"gateway"`
	Broker    string          `json:"broker"`
	Store     string          `json:"store"`
	Mail      string          `json:"mail,omitempty"`    // the page of the private mail server
	Logs      string          `json:"logs,omitempty"`    // the store of log lines and spans
	Console   string          `json:"console,omitempty"` // the page for staff
	Version   string          `json:"version,omitempty"` // what the programs are built from
	Sidecar   string          `json:"sidecar,omitempty"` // the version of the sidecars
	Collected *Collected      `json:"collected,omitempty"`
	Metrics   string          `json:"metrics,omitempty"` // the store of metrics
	Processes []ProcessReport `json:"processes"`
	// Connections are those that can be cut and slowed; there are none without Options.Proxies.
	Connections []ConnectionReport `json:"connections,omitempty"`
}

// ProcessReport is the state of one process. Memory and work include all processes that it started.
type ProcessReport struct {
	process.Status
	process.Memory
	process.Work
	Frozen bool `json:"frozen,omitempty"` // stopped by a signal; SIGCONT continues it
}

// Report looks at every process.
func (s *Stack) Report(since time.Time) Report {
	report := s.brief(since)
	for i, p := range report.Processes {
		if p.PID != 0 {
			report.Processes[i].Memory, report.Processes[i].Work = process.TreeMemory(p.PID), process.TreeWork(p.PID)
		}
	}
	return report
}

// brief is a report without memory and processor time, which take long to add up on a machine with many processes.
func (s *Stack) brief(since time.Time) Report {
	report := Report{
		PID: os.Getpid(), Dir: s.dir, Since: since,
		Gateway: s.GatewayURL(), Broker: s.broker.Kind, Store: s.store.Kind, Mail: s.MailURL(), Metrics: s.observed.metrics,
		Console: s.ConsoleURL(), Version: s.version, Sidecar: s.sidecar.Version,
		Connections: s.connectionReports(),
	}
	if s.observed.store != "" {
		report.Logs, report.Collected = s.observed.store, s.observed.collected()
	}
	for _, status := range s.Processes() {
		one := ProcessReport{Status: status}
		if status.PID != 0 {
			one.Frozen = process.Frozen(status.PID)
		}
		report.Processes = append(report.Processes, one)
	}
	return report
}

// socketAddress is the address of the control socket. If the path is longer than a socket address may be (108 bytes,
// unix(7)), the address goes through the open folder.
func socketAddress(dir string) (address string, release func(), err error) {
	path := filepath.Join(dir, "run", "control.sock")
	const longest = 100
	if len(path) <= longest {
		return path, func() {}, nil
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, fmt.Errorf("reaching the control socket: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/control.sock", folder.Fd()), func() { _ = folder.Close() }, nil
}

// ServeControl answers status, restart, stop, start, kill and down on the stack's control socket until the context
// ends. It calls down when somebody wants to stop the whole stack.
func (s *Stack) ServeControl(ctx context.Context, down func()) error {
	address, release, err := socketAddress(s.dir)
	if err != nil {
		return err
	}
	defer release()
	listener, err := net.Listen("unix", address)
	if err != nil {
		return fmt.Errorf("opening the control socket: %w", err)
	}
	if err := os.Chmod(address, 0o600); err != nil {
		return fmt.Errorf("guarding the control socket: %w", err)
	}
	server := &http.Server{Handler: s.controlHandler(down), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving the control socket: %w", err)
	case <-ctx.Done():
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(closing)
		return nil
	}
}

func (s *Stack) controlHandler(down func()) http.Handler {
	since := time.Now()
	mux := http.NewServeMux()
	for path, report := range map[string]func(time.Time) Report{"GET /status": s.Report, "GET /brief": s.brief} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(report(since))
		})
	}
	mux.HandleFunc("GET /traffic", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Traffic(r.Context()))
	})
	mux.HandleFunc("POST /down", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		down()
	})
	act := func(action string, do func(r *http.Request, name string) error) {
		mux.HandleFunc("POST /"+action, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r, r.URL.Query().Get("name")); err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}
	act("restart", func(r *http.Request, name string) error { return s.Restart(r.Context(), name) })
	act("start", func(r *http.Request, name string) error { return s.StartProcess(r.Context(), name) })
	act("stop", func(r *http.Request, name string) error { return s.StopProcess(r.Context(), name) })
	act("connection", func(r *http.Request, name string) error {
		return s.SetConnection(name, ConnectionState(r.URL.Query().Get("state")))
	})
	act("kill", func(r *http.Request, name string) error {
		signal, err := strconv.Atoi(r.URL.Query().Get("signal"))
		if err != nil || signal <= 0 || signal > 64 {
			return errors.New("no such signal")
		}
		return s.Kill(name, syscall.Signal(signal))
	})
	return mux
}

// ErrNotUp says that no stack runs in the folder.
var ErrNotUp = errors.New("no stack is running here")

// Control sends commands, from another process, to the stack that runs in a folder.
type Control struct {
	dir    string
	client *http.Client
}

// Connect returns the control of the stack in a folder, or ErrNotUp.
func Connect(ctx context.Context, dir string) (*Control, error) {
	c := &Control{dir: dir}
	c.client = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			address, release, err := socketAddress(dir)
			if err != nil {
				return nil, err
			}
			defer release()
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", address)
		},
	}}
	if _, err := c.Brief(ctx); err != nil {
		return nil, fmt.Errorf("%w (%s)", ErrNotUp, dir)
	}
	return c, nil
}

// Report returns the state of the stack.
func (c *Control) Report(ctx context.Context) (Report, error) { return c.report(ctx, "status") }

// Brief returns the state of the stack without memory and processor time of its processes. It is for those who ask often.
func (c *Control) Brief(ctx context.Context) (Report, error) { return c.report(ctx, "brief") }

// Traffic returns what sidecars and the gateway have counted.
func (c *Control) Traffic(ctx context.Context) (Traffic, error) {
	var traffic Traffic
	err := c.read(ctx, "traffic", &traffic)
	return traffic, err
}

func (c *Control) report(ctx context.Context, what string) (Report, error) {
	var report Report
	err := c.read(ctx, what, &report)
	return report, err
}

func (c *Control) read(ctx context.Context, what string, into any) error {
	body, err := c.ask(ctx, http.MethodGet, what, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading the stack's state: %w", err)
	}
	return nil
}

// Restart restarts a process and waits until it is ready.
func (c *Control) Restart(ctx context.Context, name string) error {
	_, err := c.ask(ctx, http.MethodPost, "restart", url.Values{"name": {name}})
	return err
}

// Start starts a stopped process and waits until it is ready.
func (c *Control) Start(ctx context.Context, name string) error {
	_, err := c.ask(ctx, http.MethodPost, "start", url.Values{"name": {name}})
	return err
}

// Stop stops a process, which then stays down.
func (c *Control) Stop(ctx context.Context, name string) error {
	_, err := c.ask(ctx, http.MethodPost, "stop", url.Values{"name": {name}})
	return err
}

// Kill sends a process a signal; the launcher starts it again.
func (c *Control) Kill(ctx context.Context, name string, signal syscall.Signal) error {
	_, err := c.ask(ctx, http.MethodPost, "kill", url.Values{"name": {name}, "signal": {strconv.Itoa(int(signal))}})
	return err
}

// SetConnection cuts a connection, slows it down or restores it.
func (c *Control) SetConnection(ctx context.Context, name string, state ConnectionState) error {
	_, err := c.ask(ctx, http.MethodPost, "connection", url.Values{"name": {name}, "state": {string(state)}})
	return err
}

// Down stops the stack and waits until its launcher has ended.
func (c *Control) Down(ctx context.Context) error {
	report, err := c.Report(ctx)
	if err != nil {
		return err
	}
	life := process.StartTime(report.PID)
	if _, err := c.ask(ctx, http.MethodPost, "down", nil); err != nil {
		return err
	}
	for process.StartTime(report.PID) == life {
		if err := (clock.System{}).Sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("waiting for the stack (pid %d) to end: %w", report.PID, err)
		}
	}
	return nil
}

func (c *Control) ask(ctx context.Context, method, action string, query url.Values) ([]byte, error) {
	address := url.URL{Scheme: "http", Host: "launcher", Path: "/" + action, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, method, address.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking the stack: %w", err)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the stack: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("asking the stack: %w", err)
	}
	if response.StatusCode >= 300 {
		return nil, errors.New(strings.TrimSpace(string(body)))
	}
	return body, nil
}
