package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/dapr/migrate"
)

// migrateOptions are the flags of migrate.
type migrateOptions struct {
	from, to, broker, daprd string
	replace, noAudit        bool
}

func migrateCommand() command {
	return command{
		name: "migrate", summary: "copy all documents of a stopped stack from one store to another",
		details: `
Copies every document of every service, compares all keys and contents afterwards, then starts the stack
on the new store and has it audit itself. It only reads the old store: to go back, start with that one.
It starts private servers. To use running servers, set ` + strings.Join(launcher.ServerVariables(), ", ") + `.

After a Ctrl-C the same command continues; when it has finished, it changes nothing. A target that
holds other documents is refused; --replace overwrites and deletes them.

Only documents are copied. Events that the broker still holds stay there; the feeds have them too.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			m := &c.options.migrate
			m.broker = launcher.Brokers()[0]
			stores := launcher.Stores()
			flags.Var(oneOf{&m.from, stores}, "from", "the `name` of the store the documents are in: "+strings.Join(stores, ", "))
			flags.Var(oneOf{&m.to, stores}, "to", "the `name` of the store to copy them to")
			flags.BoolVar(&m.replace, "replace", false, "overwrite and delete the documents that only the target holds")
			flags.BoolVar(&m.noAudit, "no-audit", false, "do not start the stack on the new store to audit it")
			flags.Var(oneOf{&m.broker, launcher.Brokers()}, "broker", "the `name` of the broker for the audit: "+strings.Join(launcher.Brokers(), ", "))
			flags.StringVar(&m.daprd, "daprd", "", "`path` of the sidecar for the audit (default: PATH, ~/.dapr/bin, or built once)")
		},
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error { return c.migrate(ctx) },
	}
}

func (c *cli) migrate(ctx context.Context) error {
	m := c.options.migrate
	if m.from == "" || m.to == "" || m.from == m.to {
		return &usageError{"migrate needs --from and --to, two different ones of " + strings.Join(launcher.Stores(), ", ") + ".\nSee help migrate."}
	}
	began := time.Now()
	fmt.Fprintf(c.out, "Copying the documents in %s from %s to %s.\n", c.dir, m.from, m.to)
	progress := &migrateProgress{cli: c, live: isTerminal(c.out)}
	done, err := migrate.Run(ctx, migrate.Options{
		Root: c.root, Dir: c.dir, Bin: c.bin(), From: m.from, To: m.to, Replace: m.replace, Log: c.out, Progress: progress.tell,
	})
	if err != nil {
		return explainMigration(ctx, m, err)
	}
	c.showMigration(done, time.Since(began))
	if !m.noAudit {
		if err := c.auditMigration(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(c.out, "From now on: go run ./dapr up --store %s\n", m.to)
	return nil
}

// explainMigration adds advice to an error.
func explainMigration(ctx context.Context, m migrateOptions, err error) error {
	var occupied *migrate.OccupiedError
	switch {
	case errors.Is(err, launcher.ErrRunning):
		return fmt.Errorf("%w; stop it first: go run ./dapr down", err)
	case errors.As(err, &occupied):
		return fmt.Errorf("%w.\nNothing was changed. To make it the same as %s, losing those: --replace", err, m.from)
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted; %s is as it was, and the same command goes on from here: %w", m.from, err)
	}
	return err
}

func (c *cli) showMigration(done migrate.Result, took time.Duration) {
	m := c.options.migrate
	fmt.Fprintf(c.out, "  %-14s %10s %10s  %s\n", "", "documents", "copied", "SHA-256 of all")
	documents, copied := 0, 0
	for _, app := range done.Apps {
		fmt.Fprintf(c.out, "  %-14s %10d %10d  %.16s\n", app.App, app.Documents, app.Copied, app.Digest)
		documents += app.Documents
		copied += app.Copied
	}
	if done.Already {
		fmt.Fprintf(c.out, "All %d documents of %s were copied before, and %s has been used since: nothing to do.\n", documents, m.from, m.to)
		return
	}
	fmt.Fprintf(c.out, "All %d documents of %s are in %s with the same content; %d were copied, in %s.\n",
		documents, m.from, m.to, copied, took.Round(100*time.Millisecond))
}

// auditMigration starts the stack on the new store and shows its audit.
func (c *cli) auditMigration(ctx context.Context) error {
	m := c.options.migrate
	fmt.Fprintf(c.out, "Starting the stack on %s to audit it.\n", m.to)
	stack, err := launcher.Start(ctx, launcher.Options{
		Root: c.root, Dir: c.dir, Bin: c.bin(), Store: m.to, Broker: m.broker, Daprd: m.daprd, FreePorts: true, Log: c.out, Quiet: true,
	})
	if err != nil {
		return err
	}
	defer c.stop(stack)
	ctx, cancel := context.WithTimeout(ctx, 2*launcher.DefaultTimeout)
	defer cancel()
	if err := stack.WaitReady(ctx); err != nil {
		return err
	}
	var report client.Audit
	if err := withRetries(ctx, func() error {
		admin, err := client.New(stack.GatewayURL(), nil).Login(ctx, stack.Admin().Email, stack.Admin().Password)
		if err != nil {
			return err
		}
		report, err = runAudit(ctx, admin)
		return err
	}); err != nil {
		return err
	}
	return c.showAudit(report)
}

// migrateProgress shows the progress of a migration: on a terminal in one line that is updated, elsewhere every few
// seconds.
type migrateProgress struct {
	*cli
	live bool
	said time.Time
}

func (p *migrateProgress) tell(at migrate.Progress) {
	const pause = 5 * time.Second
	finished := at.Done == at.Of
	if !p.live && (finished || time.Since(p.said) < pause) || p.live && !finished && time.Since(p.said) < pause/50 {
		return
	}
	p.said = time.Now()
	text := fmt.Sprintf("  %-8s %-14s %d of %d", at.Phase, at.App, at.Done, at.Of)
	if !p.live {
		fmt.Fprintln(p.out, text)
		return
	}
	fmt.Fprintf(p.out, "\r%-*s\r%s", 70, "", text)
	if finished {
		fmt.Fprintf(p.out, "\r%-*s\r", 70, "")
	}
}
