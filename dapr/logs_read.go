package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"caravan/dapr/launcher"
	"caravan/dapr/records"
	"caravan/dapr/records/store"
)

// rowOf is a line of a file as a row.
func rowOf(line launcher.LogLine) records.Row {
	row := records.ParseLine(line.Process, line.Raw)
	if row.Time.IsZero() {
		row.Time = line.Time // that of the line before
	}
	return row
}

// readLines shows the lines of files that a query asks for.
func (c *cli) readLines(ctx context.Context, read readLogs, query records.Query, show func(launcher.LogLine)) error {
	if query.Order != "" {
		// First the requests that had to do with the order, then all of their lines.
		about := records.Query{Order: query.Order}
		if _, err := read(ctx, func(line launcher.LogLine) bool {
			if row := rowOf(line); about.Match(&row) {
				query.Correlations = addCause(query.Correlations, row)
			}
			return false
		}); err != nil {
			return err
		}
	}
	lines, err := read(ctx, func(line launcher.LogLine) bool {
		row := rowOf(line)
		return query.Match(&row)
	})
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		fmt.Fprintln(c.err, "No such lines.")
	}
	return each(lines, show)
}

func each(lines []launcher.LogLine, show func(launcher.LogLine)) error {
	for _, line := range lines {
		show(line)
	}
	return nil
}

func addCause(correlations []string, row records.Row) []string {
	if row.Correlation == "" || slices.Contains(correlations, row.Correlation) {
		return correlations
	}
	return append(correlations, row.Correlation)
}

// following accepts the lines that a query asks for while they are written. The first line about an order makes the others of its
// request known.
func following(query records.Query) func(launcher.LogLine) bool {
	about := records.Query{Order: query.Order}
	return func(line launcher.LogLine) bool {
		row := rowOf(line)
		if query.Order != "" && about.Match(&row) {
			query.Correlations = addCause(query.Correlations, row)
		}
		return query.Match(&row)
	}
}

// errNotStored says that the files have to be read.
var errNotStored = errors.New("no store for log lines runs")

// storedLines asks the store for the lines of a query. It fails if none runs or if it does not answer, and if the query is for the
// files: without an id or a time it asks for the lines of this run.
func (c *cli) storedLines(ctx context.Context, query records.Query) ([]launcher.LogLine, error) {
	o := c.options.logs
	if o.raw || o.order+o.correlation+o.trace+o.user == "" && o.since == 0 {
		return nil, errNotStored
	}
	client, err := c.logStore(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	lines, err := askForLines(ctx, client, query)
	if err != nil {
		fmt.Fprintf(c.err, "The store for log lines does not answer, so the files are read: %v\n", err)
		return nil, err
	}
	if len(lines) == 0 {
		fmt.Fprintln(c.err, "No such lines. A line arrives in the store some seconds after it was written.")
	}
	return lines, nil
}

// logStore returns the store for log lines and spans of the stack that --target names.
func (c *cli) logStore(ctx context.Context) (*store.Client, error) {
	if c.options.access.target == targetCompose {
		project, err := c.composeProject()
		if err != nil {
			return nil, err
		}
		address, err := project.LogStoreURL(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNotStored, err)
		}
		return store.New(address), nil
	}
	metadata, err := launcher.ReadMetadata(c.dir)
	if err != nil || metadata.Logs == "" {
		return nil, errNotStored
	}
	return store.New(metadata.Logs), nil
}

func askForLines(ctx context.Context, client *store.Client, query records.Query) ([]launcher.LogLine, error) {
	if query.Order != "" {
		var err error
		if query.Correlations, err = client.Values(ctx, records.CausesQL(query.Order), records.ColumnCorrelation, query.Since); err != nil {
			return nil, err
		}
	}
	rows, err := client.Rows(ctx, query.LogsQL(), query.Since)
	if err != nil {
		return nil, err
	}
	var lines []launcher.LogLine
	for _, row := range rows {
		line := launcher.ParseLine(row.Instance, row.Text())
		line.Time = row.Time
		lines = append(lines, line)
	}
	return lines, nil
}
