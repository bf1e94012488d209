package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/infra"
)

func testCommand() command {
	return command{
		name: "test", summary: "run every test: vet, unit, contract and end-to-end on real stacks",
		details: `
Tests that need a server which is not installed are left out. The output names them, and how to install the
server, at the start and at the end. --short leaves out all tests that start real processes.

--target compose runs the end-to-end and contract suites over docker compose instead: it makes the images with the tag
"test", starts projects of its own and removes them. RABBITMQ_IMAGE, POSTGRES_IMAGE and REDIS_IMAGE choose the servers'
images. It takes about 20 minutes; it needs root, and the Docker engine on this machine.

--matrix runs the end-to-end suite and half a minute of faults on every broker, with the first store,
and on every store, with the first broker, and ends with a table. It takes about half an hour.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			flags.BoolVar(&c.options.test.short, "short", false, "only tests that start no processes")
			flags.BoolVar(&c.options.test.matrix, "matrix", false, "the end-to-end suite on every broker and store")
			flags.Var(oneOf{&c.options.test.target, []string{targetLauncher, targetCompose}}, "target",
				"the `name` of what runs the stacks of the suites: launcher or compose (default launcher)")
			flags.StringVar(&c.options.test.run, "run", "", "only tests whose name matches this `pattern`")
		},
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error {
			o := c.options.test
			if _, err := regexp.Compile(o.run); err != nil {
				return &usageError{fmt.Sprintf("test: --run is no pattern: %v.", err)}
			}
			if o.matrix && (o.short || o.run != "") {
				return &usageError{"test: --matrix runs its own tests: it goes with neither --short nor --run."}
			}
			if o.target == targetCompose && (o.matrix || o.short) {
				return &usageError{"test: --target compose goes with neither --short nor --matrix."}
			}
			if o.matrix {
				return c.testMatrix(ctx)
			}
			return c.test(ctx)
		},
	}
}

// testStep is one command of the suite.
type testStep struct {
	folder string
	args   []string
	env    []string
}

// test runs the steps of the suite one after another until one fails, and lists at the end what was skipped.
func (c *cli) test(ctx context.Context) error {
	switch {
	case c.options.test.target == targetCompose:
		docker, err := launcher.FindDocker(ctx)
		if err != nil {
			return err
		}
		images := launcher.ImageOptions{Root: c.root, Tag: testTag, Version: testTag, Archs: []string{docker.Arch}, Log: c.out}
		if err := docker.Load(ctx, func(w io.Writer) error { return launcher.MakeImages(ctx, images, w) }); err != nil {
			return err
		}
	case !c.options.test.short:
		c.showMissing()
		if _, err := launcher.EnsureSidecar(ctx, c.root, c.bin(), "", c.out); err != nil {
			return err
		}
	}
	began := time.Now()
	omitted := omissions{}
	for _, step := range c.testSteps() {
		fmt.Fprintln(c.out, "==", strings.Join(step.args, " "), step.folder)
		started := time.Now()
		if err := c.testStep(ctx, step, omitted); err != nil {
			fmt.Fprintf(c.out, "FAILED: %s after %s\n", strings.Join(step.args, " "), time.Since(started).Round(time.Second))
			return errFailed
		}
	}
	c.showPassed(time.Since(began), omitted)
	return nil
}

// testTag is the tag of the images for suites over docker compose, so that "dev" stays unchanged.
const testTag = "test"

func (c *cli) testSteps() []testStep {
	o := c.options.test
	// One package at a time, because packages that start stacks would compete for the machine.
	tests := []string{"go", "test", "-json", "-p", "1", "-timeout", "60m"}
	if o.short {
		tests = []string{"go", "test", "-json", "-short"}
	}
	if o.run != "" {
		tests = append(tests, "-run", o.run)
	}
	if o.target == targetCompose { // the test cache does not notice changed images
		args := append(tests, "-count=1", "./test/e2e", "./test/contract")
		return []testStep{{args: args, env: []string{"CARAVAN_E2E_TARGET=" + targetCompose, "CARAVAN_TAG=" + testTag}}}
	}
	steps := []testStep{{args: []string{"go", "vet", "./..."}}, {args: append(tests, "./...")}}
	if !o.short && o.run == "" { // a separate module, built like the sidecar
		steps = append(steps, testStep{folder: filepath.Join("dapr", "daprd"), args: []string{"go", "test", "-json", "-trimpath", "-vet=off", "./..."}})
	}
	if o.run == "" { // a separate module, for Compose's loader; the cache does not see the files that it reads
		steps = append(steps, testStep{folder: filepath.Join("test", "compose"), args: []string{"go", "test", "-json", "-count=1", "./..."}})
	}
	if !o.short && o.run == "" { // likewise, for what drives a browser
		steps = append(steps, testStep{folder: filepath.Join("test", "console"), args: []string{"go", "test", "-json", "-timeout", "30m", "-count=1", "./..."}})
	}
	return steps
}

func (c *cli) testStep(ctx context.Context, step testStep, omitted omissions) error {
	command := exec.CommandContext(ctx, step.args[0], step.args[1:]...)
	command.Dir, command.Stdout, command.Stderr = filepath.Join(c.root, step.folder), c.out, c.err
	command.Env = append(os.Environ(), step.env...)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = time.Minute
	if step.args[1] != "test" {
		return command.Run()
	}
	reader, writer := io.Pipe()
	command.Stdout = writer
	read := make(chan error, 1)
	go func() { read <- showTests(reader, c.out, omitted) }()
	err := command.Run()
	_ = writer.Close() // closing a pipe does not fail
	return errors.Join(err, <-read)
}

// showMissing names the servers whose tests cannot run on this machine.
func (c *cli) showMissing() {
	for _, server := range launcher.Missing() {
		fmt.Fprintf(c.out, "Not installed, so that its tests are left out: %s %s (%s)\n", server.What, server.Name, server.Advice)
	}
}

func (c *cli) showPassed(took time.Duration, omitted omissions) {
	took = took.Round(time.Second)
	if len(omitted) == 0 {
		fmt.Fprintf(c.out, "Everything passed in %s.\n", took)
		return
	}
	reasons := slices.Sorted(maps.Keys(omitted))
	if slices.ContainsFunc(reasons, func(reason string) bool { return strings.Contains(reason, infra.ErrNotInstalled.Error()) }) {
		fmt.Fprintf(c.out, "Everything that could run here passed in %s. Not tested:\n", took)
	} else {
		fmt.Fprintf(c.out, "Everything passed in %s. Left out:\n", took)
	}
	for _, reason := range reasons {
		fmt.Fprintf(c.out, "  %s\n", omitted.line(reason))
	}
}

// omissions are the skipped tests, by reason and then by package.
type omissions map[string]map[string]int

func (o omissions) add(reason, pkg string) {
	if o[reason] == nil {
		o[reason] = map[string]int{}
	}
	o[reason][strings.TrimPrefix(pkg, "caravan/")]++
}

// line returns "3 tests of test/chaos: rabbitmq is not installed: apt install rabbitmq-server".
func (o omissions) line(reason string) string {
	count := 0
	for _, n := range o[reason] {
		count += n
	}
	return fmt.Sprintf("%s of %s: %s", counted(count, "test"), strings.Join(slices.Sorted(maps.Keys(o[reason])), ", "), reason)
}

// showTests reads the output of go test -json, shows what go test shows without it, and records the skipped tests with
// their reasons.
func showTests(output io.Reader, w io.Writer, omitted omissions) error {
	lines := bufio.NewReader(output)
	said := map[string]*bytes.Buffer{} // output of each test that has not ended
	for {
		raw, err := lines.ReadBytes('\n')
		if len(raw) > 0 {
			showTestLine(raw, w, said, omitted)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the output of go test: %w", err)
		}
	}
}

func showTestLine(raw []byte, w io.Writer, said map[string]*bytes.Buffer, omitted omissions) {
	var line struct{ Action, Package, Test, Output string }
	if json.Unmarshal(raw, &line) != nil {
		_, _ = w.Write(raw) // output of the build, not of a test
		return
	}
	key := line.Package + " " + line.Test
	switch {
	case line.Action == "output" || line.Action == "build-output":
		if line.Test == "" && line.Output != "PASS\n" {
			_, _ = io.WriteString(w, line.Output)
			return
		}
		if said[key] == nil {
			said[key] = &bytes.Buffer{}
		}
		said[key].WriteString(line.Output)
	case line.Test == "" && line.Action == "fail": // also for tests that the failure interrupted
		for _, key := range slices.Sorted(maps.Keys(said)) {
			if strings.HasPrefix(key, line.Package+" ") {
				_, _ = said[key].WriteTo(w)
				delete(said, key)
			}
		}
	case line.Test == "":
	case line.Action == "fail":
		if said[key] != nil {
			_, _ = said[key].WriteTo(w)
		}
		delete(said, key)
	case line.Action == "skip":
		if said[key] != nil {
			omitted.add(skipReason(said[key].String()), line.Package)
		}
		delete(said, key)
	case line.Action == "pass":
		delete(said, key)
	}
}

// skipReason returns the first line of a skipped test's output, such as "    stack_test.go:66: starts processes".
func skipReason(output string) string {
	reason := "no reason given"
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		if _, text, ok := strings.Cut(line, ".go:"); ok {
			if _, text, ok = strings.Cut(text, ": "); ok {
				reason = text
			}
		}
	}
	return reason
}
