package shop

import (
	"context"
	"fmt"
	"testing"
	"time"

	"caravan/test/cluster/pods"
)

// waitLimit is how long a test waits for what has to happen; a guard, as machines differ.
const waitLimit = 3 * time.Minute

// programs are those of Caravan; each has a Deployment of its name.
var programs = []string{"users", "products", "orders", "payments", "notifications", "gateway"}

// onNode skips the test where there is no cluster.
func onNode(t *testing.T) {
	t.Helper()
	if !pods.OnNode() {
		t.Skip("runs on a cluster: test/cluster/prove.sh")
	}
}

// kubectl returns what a command of kubectl prints.
func kubectl(input string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit+10*time.Second)
	defer cancel()
	return pods.Kubectl(ctx, input, args...)
}

// must is kubectl for what has to succeed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := kubectl("", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	if err := within(waitLimit, condition); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// within asks for a condition until it holds or the time is over, and returns why it does not hold.
func within(limit time.Duration, condition func() error) error {
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		err := condition()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not after %s: %w", limit, err)
		}
	}
}
