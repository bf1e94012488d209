package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"caravan/dapr/bench"
)

// benchAgainst compares this tree and its flags with a revision, or with the flags in a file.
func (c *cli) benchAgainst(ctx context.Context, flags *flag.FlagSet) error {
	o := c.options.bench
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	this := bench.Variant{Name: "this tree", Revision: c.revision(ctx, "HEAD"), Flags: benchFlags(flags, nil), Root: c.root, Program: program}
	other, err := c.variant(ctx, o.against, flags, this)
	if err != nil {
		return err
	}
	var files []string
	compared, err := bench.Against(ctx, other, this, bench.AgainstOptions{
		Dir: filepath.Join(c.dir, "bench", "against"), Rounds: o.rounds, Out: c.out,
		Kept: func(so *bench.Comparison) error {
			files = []string{filepath.Join(c.dir, "bench", so.FileName())}
			if o.json != "" {
				files = append(files, o.json)
			}
			return so.Keep(files...)
		},
	})
	if len(files) > 0 {
		compared.Show(c.out)
		fmt.Fprintf(c.out, "The results are in %s\n", strings.Join(files, " and "))
	}
	return err
}

// ofThisRun are the flags of bench that the runs of a comparison do not get.
var ofThisRun = []string{"against", "rounds", "json", "dir"}

// benchFlags are the flags that were given, as arguments of another run, without those named. Without a store each run would use the
// stack that runs.
func benchFlags(flags *flag.FlagSet, without []string) []string {
	var args []string
	starts := slices.Contains(without, "store")
	flags.Visit(func(f *flag.Flag) {
		starts = starts || f.Name == "broker" || f.Name == "store"
		if slices.Contains(ofThisRun, f.Name) || slices.Contains(without, f.Name) {
			return
		}
		args = append(args, "--"+f.Name+"="+f.Value.String())
	})
	if !starts {
		args = append(args, "--store=sqlite")
	}
	return args
}

// variant is the other variant: a revision, or this tree with the flags of a file.
func (c *cli) variant(ctx context.Context, name string, flags *flag.FlagSet, this bench.Variant) (bench.Variant, error) {
	info, err := os.Stat(name)
	if err == nil && info.Mode().IsRegular() {
		more, err := readFlags(name)
		if err != nil {
			return bench.Variant{}, err
		}
		this.Name, this.Flags = name, slices.Concat(benchFlags(flags, namesOf(more)), more)
		return this, nil
	}
	revision := c.revision(ctx, name)
	if revision == "" {
		return bench.Variant{}, &usageError{fmt.Sprintf("bench: --against %s: there is no such revision, and no such file.", name)}
	}
	other := bench.Variant{Name: name, Revision: revision}
	if other.Root, other.Program, err = c.buildRevision(ctx, revision); err != nil {
		return bench.Variant{}, err
	}
	var names []string
	flags.Visit(func(f *flag.Flag) {
		if !slices.Contains(ofThisRun, f.Name) {
			names = append(names, f.Name)
		}
	})
	missing, err := other.Lacks(ctx, names)
	if err != nil {
		return bench.Variant{}, err
	}
	for _, flag := range missing {
		fmt.Fprintf(c.out, "%s has no --%s; it is measured without.\n", name, flag)
	}
	other.Flags = benchFlags(flags, missing)
	return other, nil
}

// maxFlags bounds a file of flags.
const maxFlags = 4 << 10

// readFlags reads flags of bench from a file: one a line, as --store=redis. Empty lines, and lines after #, say nothing.
func readFlags(name string) ([]string, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading flags: %w", err)
	}
	if len(raw) > maxFlags {
		return nil, &usageError{fmt.Sprintf("bench: --against %s: the file is longer than %d bytes.", name, maxFlags)}
	}
	var all []string
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case !strings.HasPrefix(line, "--"):
			return nil, &usageError{fmt.Sprintf("bench: --against %s: %q is no flag; want one a line, as --store=redis.", name, line)}
		}
		flag, value, _ := strings.Cut(line, " ")
		if value = strings.TrimSpace(value); value != "" {
			flag += "=" + value
		}
		if slices.Contains(ofThisRun, namesOf([]string{flag})[0]) {
			return nil, &usageError{fmt.Sprintf("bench: --against %s: %s cannot differ between the runs.", name, line)}
		}
		all = append(all, flag)
	}
	return all, nil
}

// namesOf are the names of flags that are given as --name=value.
func namesOf(flags []string) []string {
	var names []string
	for _, flag := range flags {
		name, _, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		names = append(names, name)
	}
	return names
}

// revision is the commit of a name, short, or "" if there is none.
func (c *cli) revision(ctx context.Context, name string) string {
	if strings.HasPrefix(name, "-") {
		return ""
	}
	output, err := git(ctx, c.root, "rev-parse", "--verify", "--quiet", "--short=12", name+"^{commit}")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(output)
}

// buildRevision makes a copy of the repository at a revision, and builds its command dapr. A second comparison takes both from there.
func (c *cli) buildRevision(ctx context.Context, revision string) (root, program string, err error) {
	root = filepath.Join(c.dir, "bench", "revisions", revision)
	program = filepath.Join(root, ".dapr", "bin", "dapr")
	if _, err := os.Stat(program); err == nil {
		return root, program, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("looking for revision %s: %w", revision, err)
	}
	fmt.Fprintf(c.out, "Building revision %s …\n", revision)
	if err := os.RemoveAll(root); err != nil { // what an interrupted copy left
		return "", "", fmt.Errorf("copying revision %s: %w", revision, err)
	}
	if _, err := git(ctx, c.root, "clone", "--quiet", "--no-checkout", c.root, root); err != nil {
		return "", "", err
	}
	if _, err := git(ctx, root, "checkout", "--quiet", "--detach", revision); err != nil {
		return "", "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, "./dapr")
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("building revision %s: %w\n%s", revision, err, output)
	}
	return root, program, nil
}

// git runs git in a folder and returns its output.
func git(ctx context.Context, folder string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "git", args...)
	command.Dir = folder
	output, err := command.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(failed.Stderr)))
		}
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return string(output), nil
}
