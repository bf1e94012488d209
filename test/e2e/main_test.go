// Package e2e tests the system on real stacks: real sidecars, a real broker and store, and the six programs unchanged.
// The tests use only the gateway.
//
// Every answer is checked against the gateway's own OpenAPI document. After every test its own books must agree with the system
// that no unit was sold twice, no cent lost and no notice missing. The system's audit, which looks at everything and takes longer
// with every test, must agree after each test that ended processes or has a stack of its own, and after all tests.
//
// CARAVAN_E2E_TARGET says what runs the stacks: the launcher, docker compose with the images of CARAVAN_TAG, or the
// Kubernetes cluster on whose node the tests run (test/cluster/prove.sh TestEndToEnd). CARAVAN_E2E_BROKER and
// CARAVAN_E2E_STORE choose the servers of most tests, CARAVAN_E2E_REPLICAS the replicas of every service (default 1).
// CARAVAN_DAPRD names a sidecar; without it one is found or built. With CI set, a missing server is a failure and not a
// reason to skip.
package e2e

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/infra"
	"caravan/test/stacktest"
)

// settings are the settings of the run in the environment.
var settings = struct{ target, broker, store, replicas, daprd string }{
	target:   cmp.Or(stacktest.Take("CARAVAN_E2E_TARGET"), targetLauncher),
	broker:   cmp.Or(stacktest.Take("CARAVAN_E2E_BROKER"), "rabbitmq"),
	store:    stacktest.Take("CARAVAN_E2E_STORE"), // that of the target, if empty
	replicas: stacktest.Take("CARAVAN_E2E_REPLICAS"),
	daprd:    stacktest.Take("CARAVAN_DAPRD"),
}

// common is the stack that most tests share. The first test that needs it starts it.
var common struct {
	once  sync.Once
	stack *stack
	err   error
}

func TestMain(m *testing.M) {
	settings.store = cmp.Or(settings.store, defaultStore(settings.target))
	code := m.Run()
	if common.stack != nil {
		if err := common.stack.lastAudit(); code == 0 && err != nil {
			fmt.Fprintln(os.Stderr, "after all tests:", err)
			code = 1
		}
		if unanswered := common.stack.document.Unanswered(); code == 0 && whole() && len(unanswered) > 0 {
			fmt.Fprintf(os.Stderr, "no test has called %s\n", strings.Join(unanswered, ", "))
			code = 1
		}
		common.stack.stop()
	}
	os.Exit(code)
}

// whole reports whether all tests are run.
func whole() bool {
	for _, name := range []string{"test.run", "test.skip"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return !testing.Short()
}

// shared returns the common stack.
func shared(t *testing.T) *stack {
	t.Helper()
	skipShort(t)
	common.once.Do(func() {
		common.stack, common.err = start(launcher.Options{Broker: settings.broker, Store: settings.store})
	})
	usable(t, common.err)
	t.Cleanup(func() { common.stack.auditFaults(t) }) // it runs last, when all is repaired
	return common.stack
}

// own starts a stack for one test only.
func own(t *testing.T, options launcher.Options) *stack {
	t.Helper()
	skipShort(t)
	s, err := start(options)
	usable(t, err)
	t.Cleanup(s.stop)
	return s
}

// skipShort skips the test in short runs, or if the target cannot run it.
func skipShort(t *testing.T) {
	t.Helper()
	runsHere(t)
	if testing.Short() {
		t.Skip("starts processes")
	}
}

// usable skips the test when the stack could not start because a server is not installed.
func usable(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, infra.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// waitLimit is the longest wait of a test for a condition. A broker that was killed under load takes half a minute to start on two busy
// processors.
const waitLimit = 3 * time.Minute

// eventually waits until a condition is true. what completes a message that begins with "waiting for".
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	if err := within(waitLimit, condition); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// errorf makes the errors of conditions.
func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// within checks a condition until it is true or the time is over. It returns the last error.
func within(limit time.Duration, condition func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("not after %s: %w", limit, err)
		}
	}
}
