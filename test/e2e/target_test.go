package e2e

import (
	"cmp"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/process"
	"caravan/test/repository"
	"caravan/test/stacktest"
)

// target runs a stack: the launcher, docker compose, or Kubernetes. It has what tests need in addition to the gateway.
type target interface {
	GatewayURL() string
	Admin() launcher.User
	// Processes returns all processes, each with the URL of its HTTP API for the test.
	Processes(ctx context.Context) ([]process.Status, error)
	// Serves asks a process whether it is ready.
	Serves(ctx context.Context, name string) error
	// Kill ends a process by SIGKILL. The target starts it again.
	Kill(ctx context.Context, name string) error
	// Crash ends a process by SIGKILL and keeps it down until Start, which waits until it is ready.
	Crash(ctx context.Context, name string) error
	Start(ctx context.Context, name string) error
	// Restart stops everything and starts it again, at the same address and with the same data.
	Restart(ctx context.Context) error
	// APIToken returns the token that the sidecar of a service expects from its callers.
	APIToken(service string) string
	// Secrets returns all values that must not be seen, by their meaning.
	Secrets() map[string]string
	LogLines(ctx context.Context, accept func(launcher.LogLine) bool) ([]launcher.LogLine, error)
	// Remove ends everything and removes the data.
	Remove()
}

// The targets that CARAVAN_E2E_TARGET names.
const (
	targetLauncher = "launcher"
	targetCompose  = "compose"
	targetCluster  = "cluster"
)

// launch starts a stack on the target of the settings.
func launch(ctx context.Context, s *stack, options launcher.Options) (target, error) {
	switch settings.target {
	case targetLauncher:
		return launchHere(ctx, s, options)
	case targetCompose:
		return launchContainers(ctx, s, options)
	case targetCluster:
		return launchOnCluster(ctx, s, options)
	}
	return nil, fmt.Errorf("CARAVAN_E2E_TARGET is %q; it is launcher, compose or cluster", settings.target)
}

// defaultStore returns the default store of the target.
func defaultStore(target string) string {
	if target != targetLauncher {
		return "postgres"
	}
	return "sqlite"
}

// others returns the other brokers and stores of the target.
func others() []launcher.Options {
	if settings.target == targetCompose {
		return []launcher.Options{{Broker: "kafka", Store: "sqlite"}, {Broker: "rabbitmq", Store: "redis"}}
	}
	return []launcher.Options{
		{Broker: "kafka", Store: "sqlite"},
		{Broker: "rabbitmq", Store: "postgres"},
		{Broker: "redis-streams", Store: "redis"},
	}
}

// notIn are the tests that a target cannot run, with the reasons. All others run on every target.
var notIn = map[string]map[string]string{
	targetLauncher: {},
	targetCompose: {
		"TestMigration":          "only the launcher migrates",
		"TestStreamsOfManyUsers": "there is one gateway",
		"TestRunningCluster":     "the cluster of the test listens on this machine's loopback, which containers do not reach",
	},
	targetCluster: {
		"TestMigration": "only the launcher migrates",
		"TestGoldenJourneyOnOtherBrokersAndStores": "the cluster runs rabbitmq and postgres",
		"TestRunningCluster":                       "the cluster runs rabbitmq",
		"TestAuditFindsWhatIsPlanted":              "its broker is kafka, and the cluster runs rabbitmq",
		"TestTwoStacks":                            "there is one cluster",
		"TestStreamsOfManyUsers":                   "there is one gateway",
	},
}

// runsHere skips a test that the target cannot run.
func runsHere(t *testing.T) {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	if reason, left := notIn[settings.target][name]; left {
		t.Skipf("%s is not run with the target %s: %s", name, settings.target, reason)
	}
}

// TestWhatIsLeftOutExists checks that the tests in notIn exist, because a test may have been renamed.
func TestWhatIsLeftOutExists(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil {
				tests[function.Name.Name] = true
			}
		}
	}
	if !tests["TestWhatIsLeftOutExists"] {
		t.Fatal("the tests were not found")
	}
	for target, names := range notIn {
		for name := range names {
			if !tests[name] {
				t.Errorf("%s leaves out %s, which does not exist", target, name)
			}
		}
	}
}

// replicas returns the number of replicas of each service from the environment.
func replicas() (int, error) {
	n, err := strconv.Atoi(cmp.Or(settings.replicas, "1"))
	if err != nil || n < 1 || n > 9 {
		return 0, fmt.Errorf("CARAVAN_E2E_REPLICAS is %q; it is a number from 1 to 9", settings.replicas)
	}
	return n, nil
}

// environment returns that of stacktest, with an early alarm for waiting orders.
func environment() map[string]map[string]string {
	env := stacktest.Environment(repository.Root("../..").AppIDs())
	env["orders"]["CARAVAN_SAGA_ALARM_AFTER"] = "3s"
	return env
}
