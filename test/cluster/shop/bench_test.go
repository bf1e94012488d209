package shop

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestBench measures orders a second as `go run ./dapr bench` does, to be set beside a stack of the launcher on the same
// machine (--broker rabbitmq --store postgres). CLUSTER_BENCH are further arguments.
func TestBench(t *testing.T) {
	onNode(t)
	password, _ := deploy(t, "../overlays/plain")
	ready(t)
	command := exec.Command(os.Getenv("CLUSTER_IMAGES")+"/dapr", append([]string{"bench", "--gateway", gateway(t), "--email", admin}, strings.Fields(os.Getenv("CLUSTER_BENCH"))...)...)
	command.Env = append(os.Environ(), "CARAVAN_PASSWORD="+password)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		t.Error(err)
	}
}
