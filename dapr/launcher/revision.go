package launcher

import (
	"context"
	"os/exec"
	"strings"
	"time"

	"caravan/internal/version"
)

// gitTimeout bounds a question to git about a checkout.
const gitTimeout = 5 * time.Second

// builtFrom is what the programs of a checkout are built from: its revision, with "+changes" if files differ from it. The go command
// does not record that here, see goCommand. Where git does not answer, it is what this program was built from.
func builtFrom(ctx context.Context, root string) version.Info {
	info := version.Read()
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	ask := func(args ...string) (string, error) {
		command := exec.CommandContext(ctx, "git", args...)
		command.Dir = root
		output, err := command.Output()
		return strings.TrimSpace(string(output)), err
	}
	revision, err := ask("rev-parse", "--verify", "--quiet", "--short=12", "HEAD")
	if err != nil {
		return info
	}
	changes, err := ask("status", "--porcelain", "--untracked-files=no")
	if err != nil || changes != "" {
		revision += "+changes"
	}
	info.Revision = revision
	return info
}
