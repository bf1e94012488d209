package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"caravan/internal/launcher"
)

func doctorCommand() command {
	return command{
		name: "doctor", summary: "check that this machine has what a stack needs, and say how to get the rest",
		flags: func(c *cli, flags *flag.FlagSet) {
			flags.BoolVar(&c.options.doctor.build, "build", false, "build the sidecar now if none is found")
			flags.StringVar(&c.options.doctor.daprd, "daprd", "", "`path` of the sidecar to check")
		},
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error {
			if c.options.doctor.build {
				if _, err := launcher.EnsureSidecar(ctx, c.root, c.bin(), c.options.doctor.daprd, c.out); err != nil {
					return err
				}
			}
			findings, err := launcher.Diagnose(ctx, c.root, c.dir, c.options.doctor.daprd)
			if err != nil {
				return err
			}
			marks := map[launcher.Severity]string{launcher.Good: "ok  ", launcher.Optional: "--  ", launcher.Bad: "BAD "}
			var failed error
			for _, finding := range findings {
				fmt.Fprintf(c.out, "%s %-22s %s\n", marks[finding.Severity], finding.What, finding.Detail)
				if finding.Advice != "" {
					fmt.Fprintf(c.out, "     %-22s → %s\n", "", finding.Advice)
				}
				if finding.Severity == launcher.Bad {
					failed = errFailed
				}
			}
			return failed
		},
	}
}

func testCommand() command {
	return command{
		name: "test", summary: "run every test: vet, unit, contract and end-to-end on real stacks",
		details: `
--short leaves out the tests that start real processes.

--matrix runs the end-to-end suite and half a minute of faults on every broker, with the first store,
and on every store, with the first broker, and ends with a table. It takes about half an hour.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			flags.BoolVar(&c.options.test.short, "short", false, "only tests that start no processes")
			flags.BoolVar(&c.options.test.matrix, "matrix", false, "the end-to-end suite on every broker and store")
			flags.StringVar(&c.options.test.run, "run", "", "only tests whose name matches this `pattern`")
		},
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error {
			if c.options.test.matrix {
				return c.testMatrix(ctx)
			}
			return c.test(ctx)
		},
	}
}

// test runs the steps of the suite one after another, as far as the first that
// fails.
func (c *cli) test(ctx context.Context) error {
	// One package at a time: those that start stacks would fight for the machine.
	tests := []string{"go", "test", "-p", "1", "-timeout", "30m"}
	if c.options.test.short {
		tests = []string{"go", "test", "-short"}
	} else if _, err := launcher.EnsureSidecar(ctx, c.root, c.bin(), "", c.out); err != nil {
		return err
	}
	if c.options.test.run != "" {
		tests = append(tests, "-run", c.options.test.run)
	}
	type step struct {
		folder string
		args   []string
	}
	steps := []step{{"", []string{"go", "vet", "./..."}}, {"", append(tests, "./...")}}
	if !c.options.test.short && c.options.test.run == "" { // a module of its own, built like the sidecar
		steps = append(steps, step{filepath.Join("dapr", "daprd"), []string{"go", "test", "-trimpath", "-vet=off", "./..."}})
	}
	began := time.Now()
	for _, step := range steps {
		fmt.Fprintln(c.out, "==", strings.Join(step.args, " "), step.folder)
		started := time.Now()
		command := exec.CommandContext(ctx, step.args[0], step.args[1:]...)
		command.Dir, command.Stdout, command.Stderr = filepath.Join(c.root, step.folder), c.out, c.err
		command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
		command.WaitDelay = time.Minute
		if err := command.Run(); err != nil {
			fmt.Fprintf(c.out, "FAILED: %s after %s\n", strings.Join(step.args, " "), time.Since(started).Round(time.Second))
			return errFailed
		}
	}
	fmt.Fprintf(c.out, "Everything passed in %s.\n", time.Since(began).Round(time.Second))
	return nil
}
