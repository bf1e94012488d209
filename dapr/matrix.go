package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/infra"
)

// pairing is a broker and a store for a run of the suite.
type pairing struct{ broker, store string }

// matrix returns every broker with the first store, and every store with the first broker. So each component set
// occurs, but not every combination.
func matrix() []pairing {
	brokers := slices.DeleteFunc(launcher.Brokers(), func(broker string) bool { return broker == infra.Auto })
	stores := launcher.Stores()
	var all []pairing
	for _, broker := range brokers {
		all = append(all, pairing{broker, stores[0]})
	}
	for _, store := range stores[1:] {
		all = append(all, pairing{brokers[0], store})
	}
	return all
}

// trial is the result of one run on a pairing.
type trial struct {
	passed, failed, skipped int
	failures                []string
	err                     error
	took                    time.Duration
}

func (t trial) String() string {
	switch {
	case t.took == 0:
		return "not run"
	case t.err != nil || t.failed > 0:
		return fmt.Sprintf("FAILED (%d of %d)", t.failed, t.passed+t.failed)
	case t.passed == 0:
		return "ok"
	case t.skipped > 0:
		return fmt.Sprintf("ok %d, %d skipped", t.passed, t.skipped)
	}
	return fmt.Sprintf("ok %d", t.passed)
}

// testMatrix runs the end-to-end suite and a short run with random faults on every pairing, one after another, and
// shows a table at the end.
func (c *cli) testMatrix(ctx context.Context) error {
	if _, err := launcher.EnsureSidecar(ctx, c.root, c.bin(), "", c.out); err != nil {
		return err
	}
	folder := filepath.Join(c.dir, "matrix")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("preparing a folder for the output: %w", err)
	}
	began := time.Now()
	suites, storms := map[pairing]trial{}, map[pairing]trial{}
	for _, at := range matrix() {
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintf(c.out, "== %s and %s\n", at.broker, at.store)
		suites[at] = c.suiteOn(ctx, folder, at)
		storms[at] = c.stormOn(ctx, folder, at)
	}
	failed := c.showMatrix(suites, storms)
	fmt.Fprintf(c.out, "%s in all; what each said is in %s\n", time.Since(began).Round(time.Second), folder)
	if failed || ctx.Err() != nil {
		return errFailed
	}
	return nil
}

func (c *cli) showMatrix(suites, storms map[pairing]trial) (failed bool) {
	fmt.Fprintf(c.out, "\n%-15s %-10s %-24s %10s  %-12s %10s\n", "BROKER", "STORE", "SUITE", "TOOK", "STORM", "TOOK")
	for _, at := range matrix() {
		suite, storm := suites[at], storms[at]
		fmt.Fprintf(c.out, "%-15s %-10s %-24s %10s  %-12s %10s\n", at.broker, at.store,
			suite, suite.took.Round(time.Second), storm, storm.took.Round(time.Second))
		for _, t := range []trial{suite, storm} {
			failed = failed || t.took == 0 || t.err != nil || t.failed > 0
		}
		for _, name := range suite.failures {
			fmt.Fprintf(c.out, "%26s %s\n", "", name)
		}
	}
	return failed
}

// suiteOn runs the end-to-end suite on a pairing.
func (c *cli) suiteOn(ctx context.Context, folder string, at pairing) trial {
	args := []string{"test", "-json", "-count", "1", "-p", "1", "-timeout", "60m"}
	if c.options.test.run != "" {
		args = append(args, "-run", c.options.test.run)
	}
	command := exec.CommandContext(ctx, "go", append(args, "./test/e2e")...)
	command.Env = append(os.Environ(), "CARAVAN_E2E_BROKER="+at.broker, "CARAVAN_E2E_STORE="+at.store)
	return c.try(command, filepath.Join(folder, at.broker+"-"+at.store+"-suite.log"), c.countTests)
}

// stormOn runs a short run with random faults on a pairing, the same on each.
func (c *cli) stormOn(ctx context.Context, folder string, at pairing) trial {
	self, err := os.Executable()
	if err != nil {
		return trial{err: err, took: 1}
	}
	command := exec.CommandContext(ctx, self, "chaos", "--campaign", "storm", "--minutes", "0.5", "--seed", "1", "--quick",
		"--broker", at.broker, "--store", at.store, "--dir", c.dir)
	return c.try(command, filepath.Join(folder, at.broker+"-"+at.store+"-storm.log"), func(output io.Reader, _ *trial) error {
		_, err := io.Copy(io.Discard, output)
		return err
	})
}

// try runs a command, writes its output to a file and passes it to read.
func (c *cli) try(command *exec.Cmd, log string, read func(io.Reader, *trial) error) (t trial) {
	began := time.Now()
	defer func() { t.took = max(time.Since(began), 1) }()
	file, err := os.Create(log)
	if err != nil {
		return trial{err: fmt.Errorf("keeping the output: %w", err)}
	}
	defer file.Close()
	reader, writer := io.Pipe()
	command.Dir, command.Stdout, command.Stderr = c.root, io.MultiWriter(file, writer), file
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGINT) }
	command.WaitDelay = time.Minute
	done := make(chan error, 1)
	go func() { done <- read(reader, &t) }()
	err = command.Run()
	_ = writer.Close()
	t.err = errors.Join(err, <-done)
	if t.err != nil {
		fmt.Fprintf(c.out, "   failed: %v; see %s\n", t.err, log)
	}
	return t
}

// countTests counts the tests in the output of go test -json, without subtests, and shows each failure immediately.
func (c *cli) countTests(output io.Reader, t *trial) error {
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line struct{ Action, Test string }
		if !bytes.HasPrefix(lines.Bytes(), []byte("{")) || json.Unmarshal(lines.Bytes(), &line) != nil || line.Test == "" {
			continue
		}
		inner := strings.Contains(line.Test, "/")
		switch {
		case line.Action == "fail":
			fmt.Fprintf(c.out, "   FAILED %s\n", line.Test)
			t.failures = append(t.failures, line.Test)
			if !inner {
				t.failed++
			}
		case inner:
		case line.Action == "pass":
			t.passed++
		case line.Action == "skip":
			t.skipped++
		}
	}
	slices.Sort(t.failures)
	return lines.Err()
}
