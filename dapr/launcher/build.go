package launcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// buildPrograms builds Go packages of the repository into the folder bin, one binary per package with the name of its
// folder.
func buildPrograms(ctx context.Context, root, bin string, packages []string) error {
	return goBuild(ctx, root, bin, nil, nil, packages)
}

// goBuild builds Go packages of the repository into a folder, with additional environment and flags for the go command.
func goBuild(ctx context.Context, root, folder string, environ, flags, packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	unlock, err := lockFile(filepath.Join(folder, ".programs.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	args := append([]string{"-o", folder + string(filepath.Separator)}, flags...)
	command := goCommand(ctx, root, "build", append(args, packages...)...)
	if len(environ) > 0 {
		command.Env = append(os.Environ(), environ...)
	}
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return errors.New("the go command is not on the PATH: https://go.dev/dl/")
		}
		return fmt.Errorf("building %s: %w\n%s", strings.Join(packages, " "), err, output.String())
	}
	return nil
}

// goCommand is a go command in a folder that does not call git. git refuses a folder of another user, as mounts and
// containers have them. "go build" and "go list" would then fail, because they want to record the revision.
func goCommand(ctx context.Context, folder, verb string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "go", append([]string{verb, "-buildvcs=false"}, args...)...)
	command.Dir = folder
	return command
}

// BinFolder is where the programs for the stacks of a folder are built. For <root>/.dapr, the Dapr CLI finds daprd
// there, through runtimePath of the run file.
func BinFolder(dir string) string { return filepath.Join(dir, "bin") }

// lockFile waits for the exclusive lock of a file and takes it, so that two launchers in one repository do not write
// the same binary at once. The kernel releases the lock when the process ends.
func lockFile(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("taking a lock: %w", err)
	}
	return func() { _ = file.Close() }, nil
}
