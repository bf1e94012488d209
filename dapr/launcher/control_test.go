package launcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"caravan/dapr/launcher/process"
)

// smallStack is a stack without programs and servers, but with one process. It is for tests that do not need any
// particular program.
func smallStack(t *testing.T, dir string, log *bytes.Buffer) *Stack {
	t.Helper()
	options := Options{Root: repository, Dir: dir, FreePorts: true}
	if log != nil {
		options.Log = log
	}
	s, err := newStack(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.prepareFolder(); err != nil {
		t.Fatal(err)
	}
	s.supervisor = process.NewSupervisor(filepath.Join(s.dir, "logs"), s.console.line, s.processChanged)
	p, err := s.add(process.Spec{
		Name: "orders", Path: "/bin/sh", Args: []string{"-c", `echo '{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"hello","correlation_id":"c-1"}'; exec sleep 600`},
		Env: []string{"PATH=" + os.Getenv("PATH")},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Start()
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

func TestControlOfAStackInAnyFolder(t *testing.T) {
	for name, dir := range map[string]string{
		"short": t.TempDir(),
		"deep":  filepath.Join(t.TempDir(), strings.Repeat("deeper/", 20)), // longer than a socket address may be
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Connect(t.Context(), dir); !errors.Is(err, ErrNotUp) {
				t.Fatalf("before: %v, want ErrNotUp", err)
			}
			s := smallStack(t, dir, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			serving, down := context.WithCancel(ctx)
			served := make(chan error, 1)
			go func() { served <- s.ServeControl(serving, down) }()
			control := connectSoon(t, ctx, dir)

			before, err := s.Process("orders")
			if err != nil {
				t.Fatal(err)
			}
			if err := control.Restart(ctx, "orders"); err != nil {
				t.Fatal(err)
			}
			report, err := control.Report(ctx)
			if err != nil || len(report.Processes) != 1 || report.Processes[0].PID == before.PID || report.PID != os.Getpid() {
				t.Errorf("after a restart: %+v, %v", report, err)
			}
			for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
				if err := control.Kill(ctx, "orders", signal); err != nil {
					t.Error(err)
				}
				eventually(t, signal.String(), func() (bool, string) {
					brief, err := control.Brief(ctx)
					return err == nil && brief.Processes[0].Frozen == (signal == syscall.SIGSTOP) && brief.Processes[0].RSS == 0, fmt.Sprintf("%+v, %v", brief, err)
				})
			}
			if err := control.Stop(ctx, "orders"); err != nil {
				t.Error(err)
			}
			if err := control.Kill(ctx, "orders", syscall.SIGKILL); err == nil || !strings.Contains(err.Error(), "not running") {
				t.Errorf("killing what is down: %v", err)
			}
			if err := control.Start(ctx, "order"); err == nil || !strings.Contains(err.Error(), "there are orders") {
				t.Errorf("starting what does not exist: %v", err)
			}
			if _, err := control.ask(ctx, "POST", "down", nil); err != nil {
				t.Error(err)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			if serving.Err() == nil {
				t.Error("down was not passed on")
			}
		})
	}
}

func connectSoon(t *testing.T, ctx context.Context, dir string) *Control {
	t.Helper()
	var control *Control
	eventually(t, "control", func() (bool, string) {
		var err error
		control, err = Connect(ctx, dir)
		return err == nil, ""
	})
	return control
}

func TestLogsAreReadAndFollowed(t *testing.T) {
	s := smallStack(t, t.TempDir(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	wanted := func(line LogLine) bool { return line.Field("correlation_id") == "c-1" }
	eventually(t, "first line", func() (bool, string) {
		lines, err := s.LogLines(wanted)
		return err == nil && len(lines) == 1 && lines[0].Message == "hello" && lines[0].Time.Year() == 2026, ""
	})

	var mu sync.Mutex
	seen := 0
	followed := make(chan error, 1)
	go func() {
		followed <- FollowLogs(ctx, s.Dir(), wanted, func(LogLine) {
			mu.Lock()
			defer mu.Unlock()
			seen++
		})
	}()
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
	eventually(t, "the line that was there", func() (bool, string) { return count() == 1, "" })
	if err := s.Restart(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the line of its next life", func() (bool, string) { return count() == 2, "" })
	cancel()
	if err := <-followed; err != nil {
		t.Error(err)
	}
}

func TestLinesAreShownForPeople(t *testing.T) {
	for raw, want := range map[string]string{
		`{"time":"2026-01-02T03:04:05Z","level":"WARN","msg":"low stock","sku":"MUG","note":"two left","service":"products"}`: `WARN  low stock sku=MUG note="two left"`,
		`plain text`: "plain text",
		`{not json`:  "{not json",
	} {
		if got := Format(ParseLine("products", raw), "", false); !strings.HasPrefix(got, "products ") || !strings.Contains(got, want) {
			t.Errorf("%s is shown as %q, want %q", raw, got, want)
		}
	}
	var out bytes.Buffer
	c := newConsole(&out, false, false, []string{"orders"})
	for name, raw := range map[string]string{
		"orders": `{"level":"info","msg":"of a program"}`, "orders-daprd": `{"level":"info","msg":"of a sidecar"}`, "broker": `{"level":"error","msg":"of a broker"}`,
	} {
		c.line(name, []byte(raw))
	}
	shown := out.String()
	if !strings.Contains(shown, "of a program") || strings.Contains(shown, "of a sidecar") || !strings.Contains(shown, "of a broker") {
		t.Errorf("shown:\n%s", shown)
	}
}
