package metrics

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestAlertRules runs dapr/observe/alerts_test.yaml with the tool of VictoriaMetrics. The first run builds the tool.
func TestAlertRules(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a tool")
	}
	command := exec.CommandContext(t.Context(), "go", "tool", "vmalert-tool", "unittest", "--files=alerts_test.yaml")
	command.Dir = folder
	// With these flags the tool shares most packages with the store for metrics, which "doctor --build" has built.
	command.Env = append(command.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS="+os.Getenv("GOFLAGS")+" -trimpath")
	output, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "SUCCESS") {
		t.Errorf("%v\n%s", err, output)
	}
}
