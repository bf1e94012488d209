package launcher

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"caravan/internal/version"
)

func TestTheRevisionIsThatOfTheCheckout(t *testing.T) {
	root := smallRepository(t)
	if err := os.RemoveAll(filepath.Join(root, ".git")); err != nil {
		t.Fatal(err)
	}
	if got, want := builtFrom(t.Context(), root), version.Read(); got != want {
		t.Errorf("without a repository it is %v, want %v", got, want)
	}
	git := func(args ...string) string {
		command := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=t", "-c", "user.email=t@t.example"}, args...)...)
		command.Dir = root
		output, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, output)
		}
		return strings.TrimSpace(string(output))
	}
	git("init", "--quiet")
	git("add", ".")
	git("commit", "--quiet", "--message", "first")
	if got, want := builtFrom(t.Context(), root).Revision, git("rev-parse", "--short=12", "HEAD"); got != want {
		t.Errorf("it is %q, want %q", got, want)
	}
	if err := os.WriteFile(filepath.Join(root, "go.mod"), []byte("module changed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := builtFrom(t.Context(), root).Revision; !strings.HasSuffix(got, "+changes") {
		t.Errorf("with a change it is %q", got)
	}
	distrustfulGit(t)
	if got, want := builtFrom(t.Context(), root), version.Read(); got != want {
		t.Errorf("where git refuses the folder it is %v, want %v", got, want)
	}
}
