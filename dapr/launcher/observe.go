package launcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"caravan/dapr/launcher/process"
)

// The choices of Options.Observe.
const (
	ObserveOff  = "off"
	ObserveLogs = "logs" // a store for log lines and spans
	ObserveFull = "full" // and a store for metrics
)

// ObserveChoices are the choices of Options.Observe.
func ObserveChoices() []string { return []string{ObserveOff, ObserveLogs, ObserveFull} }

// observes reports whether log lines and spans go to a store.
func (o Options) observes() bool { return o.Observe == ObserveLogs || o.Observe == ObserveFull }

// The names of the processes that observe.
const (
	logStoreProcess    = "logstore"
	collectorProcess   = "collector"
	metricStoreProcess = "metricstore"
)

func isObserver(name string) bool {
	return name == logStoreProcess || name == collectorProcess || name == metricStoreProcess
}

// observed says where log lines, spans and metrics go.
type observed struct {
	store         string // the URL of the store for log lines and spans
	spans         string // where spans are received
	metrics       string // the URL of the store for metrics, "" without one
	metricProgram string // the path of that store
	log           *os.File
	// socket listens there. It is the launcher's, so that an export waits while the collector is started again. Exporters give up at
	// once when a connection is refused.
	socket *os.File
}

func (o *observed) close() {
	for _, file := range []*os.File{o.log, o.socket} {
		if file != nil {
			_ = file.Close()
		}
	}
}

// listen opens the socket for spans.
func (o *observed) listen() error {
	listener, err := net.Listen("tcp", strings.TrimPrefix(o.spans, "http://"))
	if err != nil {
		return fmt.Errorf("listening for spans: %w", err)
	}
	defer listener.Close()
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return errors.New("listening for spans: this is no TCP socket")
	}
	if o.socket, err = tcp.File(); err != nil {
		return fmt.Errorf("listening for spans: %w", err)
	}
	return nil
}

func checkObserve(options Options) error {
	if options.Observe != "" && !slices.Contains(ObserveChoices(), options.Observe) {
		return fmt.Errorf("nothing observes as %q; there are %s", options.Observe, strings.Join(ObserveChoices(), ", "))
	}
	if options.SidecarSpans < 0 || options.SidecarSpans > 1 {
		return fmt.Errorf("the share of spans of sidecars is %g, want at most 1", options.SidecarSpans)
	}
	return nil
}

// prepareObserved chooses the ports, and has the launcher's remarks written to a log beside those of the processes.
func (s *Stack) prepareObserved() error {
	if !s.options.observes() {
		return nil
	}
	urls := []*string{&s.observed.store, &s.observed.spans}
	if s.options.Observe == ObserveFull {
		urls = append(urls, &s.observed.metrics)
	}
	for _, url := range urls {
		port, err := s.ports.Take()
		if err != nil {
			return err
		}
		*url = "http://127.0.0.1:" + strconv.Itoa(port)
	}
	if err := s.observed.listen(); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "logs", "launcher.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening the launcher's log: %w", err)
	}
	s.observed.log = log
	s.console.alsoLog(slog.New(slog.NewJSONHandler(log, nil)).With("service", "launcher"))
	return nil
}

// startObserved starts the store for log lines and spans, and then the collector, so that no span is exported before it is received.
// It builds the store for metrics, which startMetrics starts.
func (s *Stack) startObserved(ctx context.Context) error {
	if !s.options.observes() {
		return nil
	}
	began := time.Now()
	program, err := EnsureLogStore(ctx, s.root, s.options.Bin, s.options.Log)
	if err != nil {
		return fmt.Errorf("%w (--observe off starts without a log store)", err)
	}
	if err := buildPrograms(ctx, s.root, s.options.Bin, []string{"./dapr/launcher/" + collectorProcess}); err != nil {
		return err
	}
	if s.options.Observe == ObserveFull {
		if s.observed.metricProgram, err = EnsureMetricStore(ctx, s.root, s.options.Bin, s.options.Log); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	for _, spec := range []process.Spec{s.logStoreSpec(program), s.collectorSpec()} {
		if err := os.MkdirAll(spec.Dir, 0o700); err != nil {
			return fmt.Errorf("making a folder for log lines: %w", err)
		}
		p, err := s.add(spec)
		if err != nil {
			return err
		}
		p.Start()
		if err := p.WaitReady(ctx, 3); err != nil {
			return err
		}
	}
	s.console.say("log store (VictoriaLogs) ready in %s.", time.Since(began).Round(100*time.Millisecond))
	return nil
}

// logStoreSpec bounds the store in memory, disk and age. Its connections are never closed: the collector knows by its connection that
// the store was not started again.
func (s *Stack) logStoreSpec(program string) process.Spec {
	data := filepath.Join(s.dir, "data", logStoreProcess)
	return process.Spec{
		Name: logStoreProcess,
		URL:  s.observed.store,
		Path: program,
		Dir:  data,
		Args: []string{
			"-httpListenAddr=" + strings.TrimPrefix(s.observed.store, "http://"),
			"-storageDataPath=" + data,
			"-retentionPeriod=7d",
			"-retention.maxDiskSpaceUsageBytes=1GiB",
			"-memory.allowedBytes=32MiB",
			"-insert.maxLineSizeBytes=2MiB",
			"-inmemoryDataFlushInterval=5s",
			"-http.connTimeout=0",
			"-http.idleConnTimeout=24h",
			"-loggerFormat=json",
			"-loggerJSONFields=ts:time",
			"-loggerLevel=WARN",
			"-http.disableCORS",
		},
		// At full load it then needs 140 MB instead of 190, and a tenth more processor time. A limit near what it needs would cost four
		// times as much.
		Env:   append(s.baseEnv(), "GOGC=50", "GOMEMLIMIT=192MiB"),
		Ready: probe(s.observed.store+"/health", http.StatusOK),
	}
}

func (s *Stack) collectorSpec() process.Spec {
	data := filepath.Join(s.dir, "data", collectorProcess)
	share := s.options.SidecarSpans
	if share == 0 {
		share = 1
	}
	return process.Spec{
		Name: collectorProcess,
		URL:  s.observed.spans,
		Path: filepath.Join(s.options.Bin, collectorProcess),
		Dir:  data,
		Args: []string{
			"-store", s.observed.store, "-logs", filepath.Join(s.dir, "logs"), "-previous", filepath.Join(s.dir, "logs.previous"),
			"-data", data,
			"-sidecar-spans", strconv.FormatFloat(share, 'g', -1, 64),
		},
		Env:         append(s.baseEnv(), "GOMEMLIMIT=48MiB"),
		Files:       []*os.File{s.observed.socket},
		Ready:       probe(s.observed.spans+"/healthz", http.StatusNoContent),
		StopTimeout: 15 * time.Second,
	}
}

// observers are the processes that observe, in start order.
func (s *Stack) observers() []*process.Process {
	return slices.DeleteFunc(s.all(), func(p *process.Process) bool { return !isObserver(p.Name()) })
}

// Collected is what the collector has done since its start.
type Collected struct {
	Lines          int64 `json:"lines"`          // sent to the store, of logs and of spans
	Spans          int64 `json:"spans"`          // received
	SpansLeftOut   int64 `json:"spansLeftOut"`   // of sidecars, by Options.SidecarSpans
	SpansRefused   int64 `json:"spansRefused"`   // because the store did not take them for too long
	ExportsInvalid int64 `json:"exportsInvalid"` // exports of spans that could not be read
	BytesBehind    int64 `json:"bytesBehind"`    // of files, not sent yet
	StoreFailures  int64 `json:"storeFailures"`  // since the store answered last
}

// delay is how many milliseconds a program collects spans before it sends them, "" if they go elsewhere. Fewer exports cost less.
func (o *observed) delay(elsewhere string) string {
	if elsewhere != "" || o.spans == "" {
		return ""
	}
	return "1000"
}

// collected asks the collector. It returns nil if it does not answer.
func (o *observed) collected() *Collected {
	response, err := (&http.Client{Timeout: 500 * time.Millisecond}).Get(o.spans + "/status")
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	var c Collected
	if json.NewDecoder(response.Body).Decode(&c) != nil {
		return nil
	}
	return &c
}

// LogsURL is the URL of the store for log lines and spans, "" if there is none.
func (s *Stack) LogsURL() string { return s.observed.store }
