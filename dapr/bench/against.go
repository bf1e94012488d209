package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Variant is one of two things that are compared: a revision, or settings.
type Variant struct {
	Name     string   `json:"name"`     // for people
	Revision string   `json:"revision"` // of the repository
	Flags    []string `json:"flags"`    // of bench
	Results  []Result `json:"results"`  // one of each round

	Root    string `json:"-"` // the folder of its repository
	Program string `json:"-"` // the command dapr of its revision
}

// Comparison has the measurements of two variants that ran in turn.
type Comparison struct {
	Setting
	Other Variant `json:"other"`
	This  Variant `json:"this"`
}

// AgainstOptions describe a comparison.
type AgainstOptions struct {
	// Dir is the folder for the stacks and for what the runs print.
	Dir string
	// Rounds is how often each variant is measured, at least once.
	Rounds int
	// Out gets the progress.
	Out io.Writer
	// Kept is called after each round with what was measured so far.
	Kept func(*Comparison) error
}

// Against measures two variants in turn, so that what else the machine does affects both: other, this, other, this. Each run starts a
// stack of its own and stops it. When the context ends, the comparison has the rounds that are complete.
func Against(ctx context.Context, other, this Variant, options AgainstOptions) (*Comparison, error) {
	c := &Comparison{Setting: Setting{Date: time.Now().UTC(), Machine: thisMachine(ctx, this.Root)}, Other: other, This: this}
	for round := 1; round <= options.Rounds; round++ {
		var results [2]Result
		for i, variant := range []Variant{other, this} {
			fmt.Fprintf(options.Out, "Round %d of %d: %s …\n", round, options.Rounds, variant.Name)
			log := filepath.Join(options.Dir, fmt.Sprintf("round-%d-%s.log", round, [2]string{"other", "this"}[i]))
			result, err := variant.measure(ctx, filepath.Join(options.Dir, "stack-"+strconv.Itoa(i)), log)
			if err != nil {
				return c, fmt.Errorf("measuring %s: %w", variant.Name, err)
			}
			results[i] = *result
		}
		c.Other.Results, c.This.Results = append(c.Other.Results, results[0]), append(c.This.Results, results[1])
		c.Broker, c.Store = results[1].Broker, results[1].Store
		if err := options.Kept(c); err != nil {
			return c, err
		}
	}
	return c, nil
}

// stopLimit is how long a run may take to stop its stack when it is interrupted.
const stopLimit = time.Minute

// measure runs the command bench of the variant.
func (v Variant) measure(ctx context.Context, dir, log string) (*Result, error) {
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return nil, fmt.Errorf("making the folder of the runs: %w", err)
	}
	output, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("opening the log of a run: %w", err)
	}
	defer output.Close()
	file := strings.TrimSuffix(log, ".log") + ".json"
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing an earlier result: %w", err)
	}
	run := exec.CommandContext(ctx, v.Program, append([]string{"bench", "--dir", dir, "--json", file}, v.Flags...)...)
	run.Dir, run.Stdout, run.Stderr = v.Root, output, output
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the terminal reaches it once, from here
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) }
	run.WaitDelay = stopLimit
	if err := run.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w; it printed:\n%s\nAll of it is in %s", err, lastLines(log, 5), log)
	}
	return Read(file)
}

// lastLines are the last lines of a file.
func lastLines(file string, n int) string {
	raw, _ := os.ReadFile(file)
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-n):], "\n  ")
}

// Lacks returns which of the flags the command bench of a variant does not have, because its revision is older.
func (v Variant) Lacks(ctx context.Context, names []string) ([]string, error) {
	help := exec.CommandContext(ctx, v.Program, "help", "bench")
	help.Dir = v.Root
	raw, err := help.Output()
	if err != nil {
		return nil, fmt.Errorf("asking %s for the flags of bench: %w", v.Name, err)
	}
	var missing []string
	for _, name := range names {
		if !strings.Contains(string(raw), "--"+name+" ") {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// Keep writes the comparison to each of the files.
func (c *Comparison) Keep(files ...string) error { return keep(c, files) }

// FileName returns a file name for the comparison with its date.
func (c *Comparison) FileName() string { return fileName(c.Date, "against") }

// MaxRounds is the maximum of AgainstOptions.Rounds.
const MaxRounds = 100

// MarshalJSON leaves nothing out that was not measured: an empty list is not null.
func (v Variant) MarshalJSON() ([]byte, error) {
	type plain Variant
	if v.Results == nil {
		v.Results = []Result{}
	}
	return json.Marshal(plain(v))
}
