package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"caravan/dapr/launcher"
)

// logsOptions are the flags of logs.
type logsOptions struct {
	correlation, level string
	follow, raw        bool
	since              time.Duration
}

func logsCommand() command {
	return command{
		name: "logs", args: "[PROCESS]", summary: "show log lines of all processes, or one, in order of time", max: 1,
		details: `
--correlation ID shows everything that one request caused, in every service. The gateway returns the
id in X-Correlation-Id, and every error contains it. Works on the logs of the last run too.

With --target compose it shows what "docker logs" has of each container.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			c.targetFlag(flags)
			o := &c.options.logs
			flags.StringVar(&o.correlation, "correlation", "", "only lines with this correlation `ID`")
			flags.StringVar(&o.level, "level", "", "only lines of the level with this `name`, and above: debug, info, warn, error")
			flags.BoolVar(&o.follow, "f", false, "continue to print new lines")
			flags.BoolVar(&o.raw, "raw", false, "print lines exactly as the processes wrote them")
			flags.Var(period(&o.since, time.Nanosecond, longest), "since", "only lines of the last `duration`, as 10m")
		},
		run: func(ctx context.Context, c *cli, flags *flag.FlagSet) error { return c.logs(ctx, flags.Arg(0)) },
	}
}

// correlated reports whether a line is about a correlation id: one of its fields has that value, or the line is not
// JSON and contains it as a word.
func correlated(line launcher.LogLine, id string) bool {
	if line.Fields == nil {
		words := strings.FieldsFunc(line.Raw, func(r rune) bool { return strings.ContainsRune(" \t\"'=:,;()[]{}<>", r) })
		return slices.Contains(words, id)
	}
	for field := range line.Fields {
		if line.Field(field) == id {
			return true
		}
	}
	return false
}

var levels = []string{"DEBUG", "INFO", "WARN", "ERROR"}

func severity(level string) int {
	if strings.HasPrefix(level, "NOTICE") { // RabbitMQ's level between info and warning
		level = "INFO"
	}
	for i, known := range levels {
		if strings.HasPrefix(level, known) { // WARNING too
			return i
		}
	}
	return len(levels) // fatal, critical and similar
}

// checkLogged fails when the folder has no logs, or none of the process.
func (c *cli) checkLogged(process string) error {
	names := launcher.Logged(c.dir)
	if len(names) == 0 {
		return fmt.Errorf("no stack has run in %s; start it with: %s", c.dir, c.run("up"))
	}
	if process == "" || slices.Contains(names, process) {
		return nil
	}
	return unknownProcess(process, names)
}

// These types are the ways to read the logs of a stack.
type (
	readLogs   func(ctx context.Context, accept func(launcher.LogLine) bool) ([]launcher.LogLine, error)
	followLogs func(ctx context.Context, accept func(launcher.LogLine) bool, show func(launcher.LogLine)) error
)

// logSource returns the logs of one process, or of all, of the stack that --target names.
func (c *cli) logSource(process string) (readLogs, followLogs, error) {
	if c.options.access.target == targetCompose {
		project, err := c.composeProject()
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, accept func(launcher.LogLine) bool) ([]launcher.LogLine, error) {
				lines, err := project.ReadLogs(ctx, process, accept)
				return lines, explained(err)
			}, func(ctx context.Context, accept func(launcher.LogLine) bool, show func(launcher.LogLine)) error {
				return explained(project.FollowLogs(ctx, process, accept, show))
			}, nil
	}
	if err := c.checkLogged(process); err != nil {
		return nil, nil, err
	}
	return launcherLogs(c.dir), func(ctx context.Context, accept func(launcher.LogLine) bool, show func(launcher.LogLine)) error {
		return launcher.FollowLogs(ctx, c.dir, accept, show)
	}, nil
}

// launcherLogs reads the logs in a stack's folder.
func launcherLogs(dir string) readLogs {
	return func(_ context.Context, accept func(launcher.LogLine) bool) ([]launcher.LogLine, error) {
		return launcher.ReadLogs(dir, accept)
	}
}

func (c *cli) logs(ctx context.Context, process string) error {
	o := c.options.logs
	if o.level != "" && severity(strings.ToUpper(o.level)) == len(levels) {
		return &usageError{fmt.Sprintf("There is no level %q; there are debug, info, warn, error.", o.level)}
	}
	read, follow, err := c.logSource(process)
	if err != nil {
		return err
	}
	coloured := isTerminal(c.out)
	accept := func(line launcher.LogLine) bool {
		switch {
		case process != "" && line.Process != process,
			o.correlation != "" && !correlated(line, o.correlation),
			o.level != "" && (line.Fields == nil || severity(line.Level) < severity(strings.ToUpper(o.level))),
			o.since > 0 && time.Since(line.Time) > o.since:
			return false
		}
		return true
	}
	show := func(line launcher.LogLine) {
		if o.raw {
			fmt.Fprintln(c.out, line.Raw)
			return
		}
		fmt.Fprintln(c.out, launcher.Format(line, "", coloured))
	}
	if o.follow {
		return follow(ctx, accept, show)
	}
	lines, err := read(ctx, accept)
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		fmt.Fprintln(c.err, "No such lines.")
	}
	for _, line := range lines {
		show(line)
	}
	return nil
}
