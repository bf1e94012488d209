package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"caravan/dapr/launcher"
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
		{"unknown flag", []string{"status", "--xyzzy"}, "Flags: --dir, --email, --gateway, --json"},
		{"flag behind an argument", []string{"kill", "orders", "--signl", "KILL"}, "Did you mean --signal?"},
		{"up of docker compose", []string{"up", "--target", "compose"}, "docker compose -f compose/compose.yaml up -d\n"},
		{"down of docker compose", []string{"down", "--target=compose"}, "docker compose -f compose/compose.yaml down\n"},
		{"a flag with a value", []string{"status", "--taget=compose"}, "no flag --taget. Did you mean --target?"},
		{"unknown command of k8s", []string{"k8s", "rendr"}, `Did you mean "k8s render"?`},
		{"unknown broker", []string{"up", "--broker", "pigeon"}, "want one of auto"},
		{"no argument", []string{"kill"}, "Usage: go run ./dapr kill"},
		{"too many arguments", []string{"logs", "a", "b"}, "Usage: go run ./dapr logs"},
		{"bad number", []string{"up", "--port", "http"}, "flag --port: want a number from 1 to 65535"},
		{"no port", []string{"up", "--port", "99999"}, "flag --port: want a number from 1 to 65535"},
		{"port 0", []string{"up", "--port", "0"}, "flag --port: want a number from 1 to 65535"},
		{"huge port", []string{"up", "--port", "99999999999999999999"}, "flag --port: want a number from 1 to 65535"},
		{"no time", []string{"up", "--timeout", "0"}, "flag --timeout: want a time with a unit, as 90s, from 1s"},
		{"a time without a unit", []string{"up", "--timeout", "90"}, "flag --timeout: want a time with a unit"},
		{"no URL", []string{"up", "--otlp", "127.0.0.1:4318"}, "flag --otlp: want a URL, as http://127.0.0.1:4318"},
		{"no folder", []string{"up", "--dir", ""}, "flag --dir: want a value"},
		{"no sidecar", []string{"up", "--daprd="}, "flag --daprd: want a value"},
		{"a filter that is empty", []string{"dead-letters", "discard", "--all", "--reason", "x", "--consumer", ""}, "flag --consumer: want a value"},
		{"a time that is empty", []string{"dead-letters", "list", "--since", ""}, "flag --since: want a value"},
		{"a filter given twice", []string{"dead-letters", "list", "--consumer", "a", "--consumer", "b"}, "flag --consumer: want it once"},
		{"a step that is empty", []string{"orders", "waiting", "--step", ""}, "flag --step: want a value"},
		{"an id that is empty", []string{"logs", "--correlation", ""}, "flag --correlation: want a value"},
		{"a URL without such a port", []string{"up", "--otlp", "http://127.0.0.1:99999"}, "flag --otlp: want a URL"},
		{"no pattern", []string{"test", "--run", "["}, "--run is no pattern"},
		{"two ways to test", []string{"test", "--matrix", "--short"}, "--matrix runs its own tests"},
		{"negative duration", []string{"bench", "--duration", "-1s"}, "flag --duration: want a time"},
		{"no number", []string{"chaos", "--minutes", "NaN"}, "flag --minutes: want a number from 0.01"},
		{"endless", []string{"chaos", "--minutes", "Inf"}, "flag --minutes: want a number from 0.01"},
		{"no rate", []string{"chaos", "--rate", "NaN"}, "flag --rate: want a number"},
		{"more than all", []string{"chaos", "--share", "1.5"}, "flag --share: want a number from 0.001 to 1"},
		{"negative gap", []string{"chaos", "--gap", "-1s"}, "flag --gap: want a time"},
		{"no customers", []string{"chaos", "--customers", "0"}, "flag --customers: want a number from 1"},
		{"negative orders", []string{"chaos", "--orders", "-5"}, "flag --orders: want a number from 1"},
		{"negative seed", []string{"chaos", "--seed", "-5"}, "flag --seed"},
		{"a schedule elsewhere", []string{"chaos", "--target", "compose", "--dry-run"}, "nothing is broken, so there is no schedule that --dry-run could show"},
		{"faults elsewhere", []string{"chaos", "--gateway", "http://127.0.0.1:1", "--faults", "kill"}, "nothing is broken, so leave --faults out"},
		{"a campaign of faults elsewhere", []string{"chaos", "--target", "compose", "--campaign", "flash"}, "--campaign is storm or keys"},
		{"no letters", []string{"dead-letters", "--limit", "0"}, "flag --limit: want a number from 1"},
		{"negative waiting", []string{"orders", "waiting", "--longer", "-1m"}, "flag --longer: want a time"},
		{"future lines", []string{"logs", "--since", "-1m"}, "flag --since: want a time"},
		{"bad switch", []string{"status", "--json=maybe"}, "for --json"},
		{"help of nothing", []string{"help", "benhc"}, `Did you mean "bench"?`},
		{"bad clients", []string{"bench", "--clients", "0"}, "want numbers from 1"},
		{"migrate to nowhere", []string{"migrate", "--from", "sqlite"}, "--from and --to, two different ones"},
		{"migrate in place", []string{"migrate", "--from", "redis", "--to", "redis"}, "two different ones"},
		{"unknown store", []string{"migrate", "--from", "shoebox", "--to", "redis"}, "want one of sqlite"},
		{"dead letters of nothing", []string{"dead-letters", "show"}, "Usage: go run ./dapr dead-letters"},
		{"one or all", []string{"dead-letters", "replay", "x", "--all"}, "Usage: go run ./dapr dead-letters"},
		{"neither one nor all", []string{"dead-letters", "replay"}, "Usage: go run ./dapr dead-letters"},
		{"discard without a reason", []string{"dead-letters", "discard", "--all"}, "needs --reason"},
		{"too fast", []string{"dead-letters", "replay", "--all", "--per-second", "1000"}, "flag --per-second: want a number from 1 to 100"},
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
			if !strings.Contains(stderr, test.want) {
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

// The help names each flag's value by its kind, with few different words.
func TestTheValuesOfFlagsHaveNames(t *testing.T) {
	kinds := strings.Fields("number duration time name text list file folder path URL address pattern ID")
	for _, known := range commands() {
		c := &cli{}
		c.flagSet(known).VisitAll(func(f *flag.Flag) {
			b, isBool := f.Value.(interface{ IsBoolFlag() bool })
			if isBool && b.IsBoolFlag() {
				return
			}
			if kind, _ := flag.UnquoteUsage(f); !slices.Contains(kinds, kind) {
				t.Errorf("%s: --%s %s; want one of %s", known.name, f.Name, kind, strings.Join(kinds, ", "))
			}
		})
	}
}

func TestTheCommandsOfK8sAreListed(t *testing.T) {
	for _, args := range []string{"k8s", "k8s --help", "k8s -h", "k8s help", "help k8s"} {
		status, out, stderr := invoke(t, strings.Fields(args)...)
		for _, known := range []command{k8sImagesCommand(), k8sSecretsCommand(), k8sRenderCommand()} {
			if line := fmt.Sprintf("  %-12s %s\n", known.name, known.summary); status != exitOK || !strings.Contains(out, line) {
				t.Errorf("%s: status %d, said %q, %q", args, status, out, stderr)
			}
		}
		if strings.Contains(out, "dead-letters") {
			t.Errorf("%s said %q", args, out)
		}
	}
}

func TestCommandsOfAStackThatIsDown(t *testing.T) {
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"logs": {"logs"}, "logs of one": {"logs", "orders"}, "logs as they come": {"logs", "-f"},
		"order": {"order"}, "audit": {"audit"}, "orders": {"orders", "waiting"}, "dead-letters": {"dead-letters"},
		"start": {"start", "orders"}, "stop": {"stop", "orders"},
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

func TestLogsOfAProcessThatDoesNotExist(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "logs", "orders.log"), []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, _ := invoke(t, "logs", "--dir", dir); status != exitOK || !strings.Contains(out, "hello") {
		t.Errorf("status %d, said %q", status, out)
	}
	if status, _, stderr := invoke(t, "logs", "ordrs", "--dir", dir); status != exitUsage || !strings.Contains(stderr, `Did you mean "orders"?`) {
		t.Errorf("status %d, said %q", status, stderr)
	}
}

func TestWhatIsBuiltAndWrittenIsInTheStacksFolder(t *testing.T) {
	c := &cli{out: io.Discard, err: io.Discard, root: "/repository", dir: "/elsewhere"}
	options, err := c.launcherOptions()
	if err != nil {
		t.Fatal(err)
	}
	c.options.up.noConsole = true
	if without, err := c.launcherOptions(); err != nil || without.Console || !options.Console {
		t.Errorf("the page for staff: %t, and %t with --no-console (%v)", options.Console, without.Console, err)
	}
	if options.Dir != "/elsewhere" || options.Bin != "/elsewhere/bin" {
		t.Errorf("programs are built in %s for the stack in %s", options.Bin, options.Dir)
	}
}

func TestTheAdminActsWhereThereIsNoStaff(t *testing.T) {
	customer, staff, admin := launcher.User{Role: "customer"}, launcher.User{Role: "staff"}, launcher.User{Role: "admin"}
	for _, test := range []struct {
		users []launcher.User
		role  string
		want  string
	}{
		{[]launcher.User{customer, admin, staff}, "staff", "staff"},
		{[]launcher.User{admin}, "staff", "admin"}, // after up --no-seed
		{[]launcher.User{admin}, "customer", ""},
		{[]launcher.User{customer}, "staff", ""},
	} {
		if got, ok := userFor(test.users, test.role); got.Role != test.want || ok != (test.want != "") {
			t.Errorf("of %v for %s: %v, %v", test.users, test.role, got, ok)
		}
	}
}

func TestATimeLimitIsExplained(t *testing.T) {
	if err := advise(fmt.Errorf("broker: %w", context.DeadlineExceeded)); !strings.Contains(err.Error(), "--timeout") {
		t.Error(err)
	}
	if err := advise(errors.New("other")); strings.Contains(err.Error(), "--timeout") {
		t.Error(err)
	}
}
