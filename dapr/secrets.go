package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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
What the file has already is kept, so that a later version of the files gets only what is new. --force replaces all of
it; broker and store keep the passwords that they were first started with, so remove their volumes then
(docker compose -f compose/compose.yaml down --volumes).`,
		flags: func(c *cli, flags *flag.FlagSet) {
			o := &c.options.secrets
			o.target = "compose"
			flags.Var(oneOf{&o.target, []string{"compose"}}, "target", "what the secrets are for: `compose`")
			flags.BoolVar(&o.force, "force", false, "replace the secrets that are there")
		},
		run: func(_ context.Context, c *cli, _ *flag.FlagSet) error { return c.secrets() },
	}
}

func (c *cli) secrets() error {
	folder := filepath.Join(c.root, "compose")
	wanted, err := requiredVariables(folder)
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
	text, added := complete(string(content), wanted)
	if added == 0 {
		fmt.Fprintf(c.out, "%s has all %d secrets already, and is kept. --force replaces them.\n", file, len(wanted))
		return os.Chmod(file, 0o600)
	}
	if err := writePrivate(file, []byte(text)); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "Wrote %d secrets to %s.\nNext: docker compose -f compose/compose.yaml up\n", added, file)
	return nil
}

// writePrivate writes a file that only its owner may read.
func writePrivate(file string, content []byte) error {
	// A new file: what another process could open before, it cannot read on.
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

var requiredVariable = regexp.MustCompile(`\$\{([A-Z0-9_]+):\?`)

// requiredVariables are the variables without which the compose files of a folder are refused.
func requiredVariables(folder string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s holds no compose files", folder)
	}
	var names []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the compose files: %w", err)
		}
		for _, match := range requiredVariable.FindAllStringSubmatch(string(content), -1) {
			names = append(names, match[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// complete adds the variables that the text of an .env file lacks, each with a value of its own.
func complete(text string, wanted []string) (completed string, added int) {
	if text == "" {
		text = "# Secrets of the stack in compose/, made by: go run ./dapr secrets\n"
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	present := parseEnv(text)
	for _, name := range wanted {
		if present[name] == "" {
			text += name + "=" + strings.ToLower(rand.Text()) + "\n"
			added++
		}
	}
	return text, added
}
