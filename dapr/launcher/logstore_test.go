package launcher

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func writeModule(t *testing.T, root, name, content string) {
	t.Helper()
	file := filepath.Join(root, "dapr", "observe", name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAnotherModuleIsAnotherLogStore: a new version in go.mod leads to a new build.
func TestAnotherModuleIsAnotherLogStore(t *testing.T) {
	root := t.TempDir()
	last := ""
	for _, content := range []string{"module a", "module b"} {
		writeModule(t, root, "go.mod", content)
		path, built, err := logStoreProgram.pinned(root, t.TempDir(), thisPlatform)
		if err != nil || built || path == last {
			t.Errorf("%s, built %v, %v", path, built, err)
		}
		last = path
	}
	if finding := checkLogStore(root, t.TempDir()); finding.Severity != Optional || !strings.Contains(finding.Advice, "doctor --build") {
		t.Errorf("doctor says %+v", finding)
	}
	if finding := checkLogStore(t.TempDir(), t.TempDir()); finding.Severity != Bad {
		t.Errorf("without the module doctor says %+v", finding)
	}
}

// TestTheStoresArePinned: the versions that are named are those of the module, and the module builds these programs.
func TestTheStoresArePinned(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "observe", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\t" + logStoreProgram.pkg + "\n", "github.com/VictoriaMetrics/VictoriaLogs v" + LogStoreVersion + " ",
		"\t" + metricStoreProgram.pkg + "\n", "github.com/VictoriaMetrics/VictoriaMetrics v" + MetricStoreVersion + " ",
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("go.mod of dapr/observe lacks %q", want)
		}
	}
}

func TestASeparateProgramIsBuiltOnce(t *testing.T) {
	root, cache := t.TempDir(), t.TempDir()
	writeModule(t, root, "go.mod", "module a\n")
	writeModule(t, root, "main.go", "package main\n\nvar version string\n\nfunc main() { print(version) }\n")
	program := separateProgram{name: "a", what: "a program", version: "7", folder: filepath.Join("dapr", "observe"), pkg: "a", ldflags: "-X main.version=7"}
	target := filepath.Join(cache, "a-7", "a")
	var said strings.Builder
	build := func() error { return program.build(t.Context(), root, target, thisPlatform, &said) }
	if err := buildOnce(target, build); err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), target).CombinedOutput()
	if err != nil || string(output) != "7" {
		t.Errorf("it prints %q, %v", output, err)
	}
	if !strings.Contains(said.String(), "Building a program for "+thisPlatform) || !strings.Contains(said.String(), "Built a 7 in ") {
		t.Errorf("said %q", said.String())
	}
	if err := buildOnce(target, func() error { return errors.New("built again") }); err != nil {
		t.Error(err)
	}
	if err := buildOnce(filepath.Join(cache, "b", "b"), func() error { return errors.New("broken") }); err == nil || err.Error() != "broken" {
		t.Errorf("a failed build returns %v", err)
	}
}
