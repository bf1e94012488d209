package launcher

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// storeCopyJob is what dapr/daprd/storecopy reads.
type storeCopyJob struct {
	App     string             `json:"app"`
	From    storeCopyComponent `json:"from"`
	To      storeCopyComponent `json:"to"`
	Copy    bool               `json:"copy"`
	Replace bool               `json:"replace"`
}

// storeCopyComponent is a store as its component file describes it.
type storeCopyComponent struct {
	Type     string            `json:"type"`
	Settings map[string]string `json:"settings"`
}

// buildStoreCopy builds the program that copies documents. It stands in the
// module of the sidecar, whose store components it uses: this module has no
// driver of any store.
func buildStoreCopy(ctx context.Context, root, bin string, log io.Writer) (string, error) {
	target := filepath.Join(bin, "storecopy")
	unlock, err := lockFile(filepath.Join(bin, ".programs.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	progress := &buildProgress{what: "storecopy", log: log, began: time.Now()}
	defer progress.tell(ctx)()
	// The same flags as for daprd, so that what was compiled for it is used again.
	_, err = progress.run(ctx, filepath.Join(root, "dapr", "daprd"), "build", "-v", "-trimpath", "-ldflags", "-s -w", "-o", target, "./storecopy")
	return target, err
}

// copy runs the program on one job.
func (m *migration) copy(ctx context.Context, job storeCopyJob, progress func(done, of int)) (comparison, error) {
	input, err := json.Marshal(job)
	if err != nil {
		return comparison{}, fmt.Errorf("copying documents: %w", err)
	}
	command := exec.CommandContext(ctx, m.program)
	command.Dir, command.Env = m.root, m.baseEnv()
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 30 * time.Second
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is ours to pass on
	var trouble strings.Builder
	command.Stderr = &trouble
	output, err := command.StdoutPipe()
	if err != nil {
		return comparison{}, fmt.Errorf("copying documents: %w", err)
	}
	// Left open: its end is the end of this process, also if that is killed.
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

// readStoreCopy reads what the program says, as far as its result.
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
