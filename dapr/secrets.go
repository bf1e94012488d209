package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"caravan/dapr/launcher/compose"
)

// secretsOptions are the flags of secrets.
type secretsOptions struct {
	target string
	force  bool
}

func secretsCommand() command {
	return command{
		name:    "secrets",
		summary: "make the secrets of a stack in containers: tokens and passwords",
		details: `
Writes compose/.env, which only its owner may read: a random value for each secret that the files in compose/ ask for.
Secrets that the file contains are kept; only missing ones are added. --force replaces all of
them; broker and store keep the passwords that they were first started with, so remove their volumes then
(docker compose -f compose/compose.yaml down --volumes). A new PUSH_PRIVATE_KEY ends all subscriptions for push messages.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			o := &c.options.secrets
			o.target = "compose"
			flags.Var(oneOf{&o.target, []string{"compose"}}, "target", "the `name` of what the secrets are for: compose")
			flags.BoolVar(&o.force, "force", false, "replace existing secrets")
		},
		run: func(_ context.Context, c *cli, _ *flag.FlagSet) error { return c.secrets() },
	}
}

func (c *cli) secrets() error {
	folder := filepath.Join(c.root, "compose")
	wanted, err := compose.RequiredVariables(folder)
	if err != nil {
		return err
	}
	file := filepath.Join(folder, ".env")
	content, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading the secrets: %w", err)
	}
	if c.options.secrets.force {
		content = nil
	}
	text, added := compose.Complete(string(content), wanted)
	if added == 0 {
		fmt.Fprintf(c.out, "%s has all %d secrets already, and is kept. --force replaces them.\n", file, len(wanted))
		return os.Chmod(file, 0o600)
	}
	if err := writePrivate(file, []byte(text)); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "Wrote %s to %s.\nNext: docker compose -f compose/compose.yaml up -d\n", counted(added, "secret"), file)
	return nil
}

// writePrivate writes a file that only its owner may read.
func writePrivate(file string, content []byte) error {
	// A new file, because another process may already have opened the old one.
	partial := file + ".partial"
	if err := os.Remove(partial); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("writing the secrets: %w", err)
	}
	if err := os.WriteFile(partial, content, 0o600); err != nil {
		return fmt.Errorf("writing the secrets: %w", err)
	}
	if err := os.Rename(partial, file); err != nil {
		return fmt.Errorf("writing the secrets: %w", err)
	}
	return nil
}
