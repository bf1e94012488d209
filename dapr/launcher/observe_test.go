package launcher

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"caravan/dapr/launcher/process"
)

func TestObserveChoicesAreChecked(t *testing.T) {
	for _, options := range []Options{{Observe: "everything"}, {SidecarSpans: 2}, {SidecarSpans: -1}} {
		options.Root, options.Dir = filepath.Join("..", ".."), t.TempDir()
		if _, err := newStack(options); err == nil {
			t.Errorf("%+v was accepted", options)
		}
	}
}

// TestWithoutObservingNothingIsAdded: no port, no process, no log and no variable.
func TestWithoutObservingNothingIsAdded(t *testing.T) {
	s, err := newStack(Options{Root: filepath.Join("..", ".."), Dir: t.TempDir(), Observe: ObserveOff})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.prepareObserved(); err != nil {
		t.Fatal(err)
	}
	if err := s.startObserved(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) > 0 {
		t.Errorf("made %v, %v", entries, err)
	}
	if s.LogsURL() != "" || s.telemetryEnv("orders") != nil || len(s.all()) > 0 {
		t.Error("something observes")
	}
}

func TestObservingIsBoundedAndLocal(t *testing.T) {
	var shown bytes.Buffer
	s, err := newStack(Options{Root: filepath.Join("..", ".."), Dir: t.TempDir(), Observe: ObserveLogs, SidecarSpans: 0.25, Log: &shown})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.prepareObserved(); err != nil {
		t.Fatal(err)
	}
	defer s.ports.Release()
	defer s.observed.close()
	store, collector := s.logStoreSpec("/bin/store"), s.collectorSpec()
	for _, want := range []string{"-httpListenAddr=127.0.0.1:", "-retentionPeriod=", "-retention.maxDiskSpaceUsageBytes=", "-memory.allowedBytes="} {
		if !slices.ContainsFunc(store.Args, func(arg string) bool { return strings.HasPrefix(arg, want) }) {
			t.Errorf("the store has no %s: %v", want, store.Args)
		}
	}
	if args := strings.Join(collector.Args, " "); !strings.Contains(args, "-store "+s.LogsURL()+" ") || !strings.HasSuffix(args, "-sidecar-spans 0.25") {
		t.Errorf("the collector gets %s", args)
	}
	if env := s.telemetryEnv("orders"); !slices.Contains(env, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL) {
		t.Errorf("programs get %v", env)
	}
	s.options.OTLPEndpoint = "http://elsewhere:4318"
	if env := s.telemetryEnv("orders"); !slices.Contains(env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://elsewhere:4318") {
		t.Errorf("programs get %v", env)
	}
	// The collector does not run yet, and an export waits for it.
	connection, err := net.Dial("tcp", strings.TrimPrefix(collector.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_ = connection.Close()
	if len(collector.Files) != 1 || collector.Files[0] == nil {
		t.Errorf("the collector gets the files %v", collector.Files)
	}
	s.console.say("a remark about %d", 7)
	s.processChanged(process.Status{Name: "orders", State: process.Waiting, LastExit: "signal: killed"})
	raw, err := os.ReadFile(filepath.Join(s.dir, "logs", "launcher.log"))
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	if err != nil || len(lines) != 2 {
		t.Fatalf("the log has %q, %v", raw, err)
	}
	if line := ParseLine("launcher", lines[1]); line.Level != "INFO" || !strings.Contains(line.Message, "orders ended (signal: killed)") || line.Time.IsZero() {
		t.Errorf("the log has %+v", line)
	}
	if !strings.Contains(shown.String(), "a remark about 7\n") {
		t.Errorf("shown is %q", shown.String())
	}
	if s.console.isProgram(collectorProcess) || s.console.isProgram(logStoreProcess) {
		t.Error("their lines are shown as those of programs")
	}
}
