package migrate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"caravan/dapr/launcher"
)

// job is what dapr/daprd/storecopy reads.
type job struct {
	App     string                  `json:"app"`
	From    launcher.StoreComponent `json:"from"`
	To      launcher.StoreComponent `json:"to"`
	Copy    bool                    `json:"copy"`
	Replace bool                    `json:"replace"`
}

// copy runs the program with one job.
func (m *migration) copy(ctx context.Context, j job, progress func(done, of int)) (comparison, error) {
	input, err := json.Marshal(j)
	if err != nil {
		return comparison{}, fmt.Errorf("copying documents: %w", err)
	}
	command := exec.CommandContext(ctx, m.program)
	command.Dir, command.Env = m.Root(), m.Env()
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 30 * time.Second
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // this process handles Ctrl-C for the program
	var trouble strings.Builder
	command.Stderr = &trouble
	output, err := command.StdoutPipe()
	if err != nil {
		return comparison{}, fmt.Errorf("copying documents: %w", err)
	}
	// Stays open: it ends when this process ends, also when this process is killed.
	leash, err := command.StdinPipe()
	if err != nil {
		return comparison{}, fmt.Errorf("copying documents: %w", err)
	}
	if err := command.Start(); err != nil {
		return comparison{}, fmt.Errorf("copying documents: %w", err)
	}
	_, writing := leash.Write(input)
	result, reading := readStoreCopy(output, progress)
	if err := command.Wait(); err != nil {
		return comparison{}, errors.Join(ctx.Err(), fmt.Errorf("copying documents: %w: %s", err, strings.TrimSpace(trouble.String())))
	}
	if err := errors.Join(writing, reading); err != nil {
		return comparison{}, fmt.Errorf("copying documents: %w", err)
	}
	return result, nil
}

// readStoreCopy reads the program's output up to its result.
func readStoreCopy(output io.Reader, progress func(done, of int)) (comparison, error) {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		var line struct {
			Done, Of int
			Result   *comparison
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return comparison{}, fmt.Errorf("the program says %q: %w", lines.Text(), err)
		}
		progress(line.Done, line.Of)
		if line.Result != nil {
			return *line.Result, nil
		}
	}
	return comparison{}, errors.Join(errors.New("the program ended without a result"), lines.Err())
}
