package shop

import (
	"os"
	"os/exec"
	"testing"
)

// TestEndToEnd runs the end-to-end tests (test/e2e) with the cluster as their target.
func TestEndToEnd(t *testing.T) {
	onNode(t)
	deploy(t, "../overlays/quick")
	ready(t)
	command := exec.Command(os.Getenv("CLUSTER_IMAGES")+"/e2e.test", "-test.v", "-test.timeout=25m")
	command.Dir = "../../e2e"
	command.Env = append(os.Environ(), "CARAVAN_E2E_TARGET=cluster", "CARAVAN_E2E_STORE=postgres")
	if pattern := os.Getenv("CLUSTER_E2E"); pattern != "" { // of the names of tests
		command.Args = append(command.Args, "-test.run="+pattern)
	}
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		t.Error(err)
	}
}
