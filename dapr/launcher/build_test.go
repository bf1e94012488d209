package launcher

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// distrustfulGit puts a git first on the PATH that refuses every folder, as git does with a folder of another user. It
// removes settings of the go command that would hide this.
func distrustfulGit(t *testing.T) {
	t.Helper()
	folder := t.TempDir()
	script := "#!/bin/sh\necho \"fatal: detected dubious ownership in repository at '$PWD'\" >&2\nexit 128\n"
	if err := os.WriteFile(filepath.Join(folder, "git"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+string(filepath.ListSeparator)+os.Getenv("PATH"))
	t.Setenv("GOFLAGS", "-buildvcs=auto")
}

// smallRepository is a repository whose packages build quickly.
func smallRepository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		".git/HEAD":                    "ref: refs/heads/main\n",
		"go.mod":                       "module caravan\n",
		"services/orders/main.go":      "package main\n\nfunc main() {}\n",
		"dapr/daprd/go.mod":            "module daprd\n",
		"dapr/daprd/main.go":           "package main\n\nfunc main() {}\n",
		"dapr/daprd/storecopy/main.go": "package main\n\nfunc main() {}\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestProgramsAreBuiltWhereGitDoesNotTrustTheFolder(t *testing.T) {
	distrustfulGit(t)
	root, bin := smallRepository(t), t.TempDir()
	plain := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, "./services/orders")
	plain.Dir = root
	if output, err := plain.CombinedOutput(); err == nil || !strings.Contains(string(output), "VCS") {
		t.Fatalf("a plain go build does not ask git: %v %s", err, output)
	}
	if err := buildPrograms(t.Context(), root, bin, []string{"./services/orders"}); err != nil {
		t.Error(err)
	}
	if err := buildSidecar(t.Context(), root, filepath.Join(bin, "daprd"), thisPlatform, io.Discard); err != nil {
		t.Error(err)
	}
	stores := &StoreServers{stack: &Stack{root: root, options: Options{Bin: bin, Log: io.Discard}}}
	if _, err := stores.BuildSidecarProgram(t.Context(), "storecopy"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"orders", "daprd", "storecopy"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, ".dapr")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("building wrote into the repository: %v", err)
	}
}

// asksGit matches go commands that record the revision, in Go, shell and YAML.
var asksGit = regexp.MustCompile(`("go", "|\bgo )(build|install|list)\b`)

// TestNoGoCommandAsksGit looks for go commands in this project that are not started through goCommand.
func TestNoGoCommandAsksGit(t *testing.T) {
	checked := 0
	check := func(file string) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		checked++
		for number, line := range strings.Split(string(raw), "\n") {
			code := strings.TrimSpace(line)
			if strings.HasPrefix(code, "//") || strings.HasPrefix(code, "#") || !asksGit.MatchString(code) || strings.Contains(code, "-buildvcs=false") {
				continue
			}
			if filepath.Base(file) == "run" && strings.Contains(string(raw), `export GOFLAGS="${GOFLAGS:-} -buildvcs=false"`) {
				continue
			}
			t.Errorf("%s:%d asks git: %s", file, number+1, code)
		}
	}
	for _, file := range []string{".ci/run", "Taskfile.yml"} {
		check(filepath.Join(repository, file))
	}
	for _, folder := range []string{"dapr", "gateway", "internal", "services", "test"} {
		err := filepath.WalkDir(filepath.Join(repository, folder), func(file string, _ fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(file) == ".go" && filepath.Base(file) != "build_test.go" {
				check(file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if checked < 100 {
		t.Errorf("only %d files were found", checked)
	}
}
