package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/records"
)

// logsOptions are the flags of logs.
type logsOptions struct {
	order, correlation, trace, user string
	app, level                      string
	follow, raw                     bool
	since                           time.Duration
}

func logsCommand() command {
	return command{
		name: "logs", args: "[PROCESS]", summary: "show log lines of all processes, or one, in order of time", max: 1,
		details: `
--order ID shows all that happened to an order, in every service: the lines about it, and those of every
request that had to do with it. --correlation ID shows what one request caused. The gateway returns the
id in X-Correlation-Id, and every error contains it. --trace and --user find lines by these ids.

Works on the logs of the last run too. Where a store for log lines runs (up --observe logs), it is asked
if an id or --since is given, and answers with lines of earlier runs too. If it does not answer, the
files are read.

With --target compose it shows what "docker logs" has of each container, or asks the store of
compose/observe.yaml.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			c.targetFlag(flags)
			o := &c.options.logs
			flags.StringVar(&o.order, "order", "", "only lines about the order with this `ID`, and of its requests")
			flags.StringVar(&o.correlation, "correlation", "", "only lines with this correlation `ID`")
			flags.StringVar(&o.trace, "trace", "", "only lines of the trace with this `ID`")
			flags.StringVar(&o.user, "user", "", "only lines about the user with this `ID`")
			flags.StringVar(&o.app, "app", "", "only lines of the app with this `name`, of its replicas and sidecars")
			flags.StringVar(&o.level, "level", "", "only lines of the level with this `name`, and above: debug, info, warn, error")
			flags.BoolVar(&o.follow, "f", false, "continue to print new lines")
			flags.BoolVar(&o.follow, "follow", false, "the same as -f")
			flags.BoolVar(&o.raw, "raw", false, "print lines exactly as the processes wrote them")
			flags.Var(period(&o.since, time.Nanosecond, longest), "since", "only lines of the last `duration`, as 10m")
		},
		run: func(ctx context.Context, c *cli, flags *flag.FlagSet) error { return c.logs(ctx, flags.Arg(0)) },
	}
}

// query is what the flags ask for.
func (o *logsOptions) query(process string, now time.Time) (records.Query, error) {
	q := records.Query{
		Order: o.order, Correlation: o.correlation, Trace: o.trace, User: o.user, App: o.app, Instance: process, Level: records.Level(strings.ToLower(o.level)),
	}
	if o.since > 0 {
		q.Since = now.Add(-o.since)
	}
	if q.Level != "" && !slices.Contains(records.Levels(), q.Level) {
		return q, &usageError{fmt.Sprintf("There is no level %q; there are debug, info, warn, error.", o.level)}
	}
	return q, nil
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
	query, err := o.query(process, time.Now())
	if err != nil {
		return err
	}
	read, follow, err := c.logSource(process)
	if err != nil {
		return err
	}
	coloured := isTerminal(c.out)
	show := func(line launcher.LogLine) {
		if o.raw {
			fmt.Fprintln(c.out, line.Raw)
			return
		}
		fmt.Fprintln(c.out, launcher.Format(line, "", coloured))
	}
	if o.follow {
		return follow(ctx, following(query), show)
	}
	lines, err := c.storedLines(ctx, query)
	if err == nil {
		err = each(lines, show)
	} else {
		err = c.readLines(ctx, read, query, show)
	}
	return err
}
