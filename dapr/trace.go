package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"caravan/dapr/records"
)

func traceCommand() command {
	return command{
		name: "trace", args: "ID", summary: "show the spans of a request as a waterfall", min: 1, max: 1,
		details: `
ID is the id of a trace, a correlation id, or the id of an order. Each line is a span: its process and name, when it began
after the first, how long it took, and a bar. ✗ marks what failed. Spans of the same name beside each other are one line
with their number.

It needs the store of: go run ./dapr up --observe logs
With --target compose it asks that of compose/observe.yaml.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			c.targetFlag(flags)
			flags.BoolVar(&c.options.trace.all, "all", false, "each span on a line of its own")
		},
		run: func(ctx context.Context, c *cli, flags *flag.FlagSet) error { return c.trace(ctx, flags.Arg(0)) },
	}
}

func (c *cli) trace(ctx context.Context, id string) error {
	client, err := c.logStore(ctx)
	if err != nil && c.options.access.target == targetCompose {
		return fmt.Errorf("spans are only in a store: %w", err)
	}
	if err != nil {
		return fmt.Errorf("spans are only in a store: %w; start it with: %s", err, c.run("up --observe logs"))
	}
	defer client.Close()
	traces, err := client.Values(ctx, records.TracesQL(id), records.ColumnTrace, time.Time{})
	if err != nil {
		return err
	}
	var spans []records.Row
	if len(traces) > 0 {
		if spans, err = client.Rows(ctx, records.SpansQL(traces), time.Time{}); err != nil {
			return err
		}
	}
	if len(spans) == 0 {
		return errors.New("no spans of " + strconv.Quote(id) + ". They arrive some seconds after they end, and are kept for 7 days")
	}
	for _, trace := range records.ByTrace(spans) {
		fmt.Fprintf(c.out, "Trace %s: ", trace[0].Trace)
		if err := records.Waterfall(c.out, trace, c.width(), c.options.trace.all); err != nil {
			return err
		}
	}
	return nil
}

// width is how many columns the terminal has.
func (c *cli) width() int {
	const usual = 120
	if file, ok := c.out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
	}
	return usual
}
