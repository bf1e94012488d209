package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"caravan/dapr/bench"
)

// benchHistory measures what earlier orders cost later ones.
func (c *cli) benchHistory(ctx context.Context) error {
	o := c.options.bench
	if o.messages == bench.MessagesPush || o.against != "" || o.compare != "" {
		return &usageError{"bench: do not give --against, --compare or --messages push with --history."}
	}
	loads, err := parseClients(o.clients)
	if err != nil {
		return err
	}
	stack, release, err := c.benchTarget(ctx)
	if err != nil {
		return err
	}
	defer release()
	result, err := bench.History(ctx, stack, bench.HistoryOptions{
		Root: c.root, Orders: o.history, Clients: slices.Max(loads), Users: o.users, Products: o.products, Messages: o.messages, Out: c.out,
	})
	if err != nil {
		return err
	}
	result.ShowProcesses(c.out)
	files := []string{filepath.Join(c.dir, "bench", result.FileName())}
	if o.json != "" {
		files = append(files, o.json)
	}
	if err := result.Keep(files...); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "The result is in %s\n", strings.Join(files, " and "))
	return nil
}
