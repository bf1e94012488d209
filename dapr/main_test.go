package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"syscall"
	"testing"

	"caravan/internal/launcher"
)

func invoke(t *testing.T, args ...string) (status int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := &cli{out: &stdout, err: &stderr}
	status = c.main(t.Context(), args)
	return status, stdout.String(), stderr.String()
}

func TestMistakesAreExplained(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"misspelt command", []string{"stauts"}, `Did you mean "status"?`},
		{"unknown command", []string{"xyzzy"}, "Commands: up, down"},
		{"misspelt flag", []string{"up", "--brokr", "x"}, "Did you mean --broker?"},
		{"unknown flag", []string{"status", "--xyzzy"}, "Flags: --dir, --json"},
		{"flag behind an argument", []string{"kill", "orders", "--signl", "KILL"}, "Did you mean --signal?"},
		{"unknown broker", []string{"up", "--broker", "pigeon"}, "want one of auto"},
		{"no argument", []string{"kill"}, "Usage: go run ./dapr kill"},
		{"too many arguments", []string{"logs", "a", "b"}, "Usage: go run ./dapr logs"},
		{"bad number", []string{"up", "--port", "http"}, "--port"},
		{"help of nothing", []string{"help", "benhc"}, `Did you mean "bench"?`},
		{"bad clients", []string{"bench", "--clients", "0"}, "want numbers from 1"},
		{"migrate to nowhere", []string{"migrate", "--from", "sqlite"}, "--from and --to, two different ones"},
		{"migrate in place", []string{"migrate", "--from", "redis", "--to", "redis"}, "two different ones"},
		{"unknown store", []string{"migrate", "--from", "shoebox", "--to", "redis"}, "want one of sqlite"},
		{"dead letters of nothing", []string{"dead-letters", "show"}, "Usage: go run ./dapr dead-letters"},
		{"one or all", []string{"dead-letters", "replay", "x", "--all"}, "Usage: go run ./dapr dead-letters"},
		{"neither one nor all", []string{"dead-letters", "replay"}, "Usage: go run ./dapr dead-letters"},
		{"discard without a reason", []string{"dead-letters", "discard", "--all"}, "needs --reason"},
		{"too fast", []string{"dead-letters", "replay", "--all", "--per-second", "1000"}, "from 1 to 100"},
		{"a strange time", []string{"dead-letters", "--since", "yesterday"}, "--since wants a time"},
		{"unknown status", []string{"dead-letters", "--status", "lost"}, "want one of open"},
		{"unknown verb", []string{"orders", "delete", "x"}, "Usage: go run ./dapr orders"},
		{"cancel without a reason", []string{"orders", "cancel", "x"}, "needs --reason"},
		{"bad level", []string{"logs", "--level", "loud"}, "debug, info, warn, error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, _, stderr := invoke(t, test.args...)
			if status != exitUsage && status != exitFailure {
				t.Errorf("exit status %d", status)
			}
			if !strings.Contains(strings.ReplaceAll(stderr, "flag -port", "flag --port"), test.want) {
				t.Errorf("said %q, want %q", stderr, test.want)
			}
		})
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	_, overview, _ := invoke(t, "help")
	for _, known := range commands() {
		if !strings.Contains(overview, known.name) || known.summary == "" {
			t.Errorf("%s is not in the overview", known.name)
		}
		for _, args := range [][]string{{known.name, "--help"}, {"help", known.name}} {
			status, out, stderr := invoke(t, args...)
			if status != exitOK || !strings.Contains(out, "Usage: go run ./dapr "+known.name) || !strings.Contains(out, "--dir") {
				t.Errorf("%v: status %d, out %q, err %q", args, status, out, stderr)
			}
		}
	}
}

func TestCommandsOfAStackThatIsDown(t *testing.T) {
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"status": {"status"}, "kill": {"kill", "orders"}, "restart": {"restart", "orders"}, "import": {"import", "../services/products/catalogue.csv"},
	} {
		status, _, stderr := invoke(t, append(args, "--dir", dir)...)
		if status != exitFailure || !strings.Contains(stderr, "go run ./dapr up") {
			t.Errorf("%s: status %d, said %q, want how to start it", name, status, stderr)
		}
	}
	if status, out, _ := invoke(t, "down", "--dir", dir); status != exitOK || !strings.Contains(out, "Nothing is running") {
		t.Errorf("down: status %d, said %q", status, out)
	}
}

func TestSignals(t *testing.T) {
	for text, want := range map[string]syscall.Signal{"KILL": syscall.SIGKILL, "sigterm": syscall.SIGTERM, "stop": syscall.SIGSTOP, "9": syscall.SIGKILL} {
		if got, err := parseSignal(text); err != nil || got != want {
			t.Errorf("parseSignal(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "65", "BOOM"} {
		if got, err := parseSignal(text); err == nil {
			t.Errorf("parseSignal(%q) = %v", text, got)
		}
	}
}

func TestKnownProcesses(t *testing.T) {
	var report launcher.Report
	for _, name := range []string{"orders", "orders-daprd", "broker"} {
		var p launcher.ProcessReport
		p.Name = name
		report.Processes = append(report.Processes, p)
	}
	if err := known(report, "orders"); err != nil {
		t.Error(err)
	}
	if err := known(report, "order"); err == nil || !strings.Contains(err.Error(), `Did you mean "orders"?`) {
		t.Errorf("got %v", err)
	}
}

func TestFollowGoRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	followGoRun(ctx, func() { t.Error("cancelled though the parent lives") })
}

func TestNoColourOutsideATerminal(t *testing.T) {
	if isTerminal(io.Discard) {
		t.Error("io.Discard is no terminal")
	}
}
