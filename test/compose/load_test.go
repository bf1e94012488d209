// Package compose checks that the files in compose/ start the same stack as dapr/dapr.yaml, and isolate its programs.
// It is a separate module, so that the product does not depend on Compose's loader.
package compose

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"caravan/test/repository"
)

// variants are the ways to start the stack: the files after compose.yaml.
var variants = map[string][]string{
	"postgres":                {},
	"sqlite":                  {"sqlite.yaml"},
	"redis":                   {"redis.yaml"},
	"kafka":                   {"kafka.yaml"},
	"kafka-embedded":          {"kafka-embedded.yaml"},
	"replicas":                {"replicas.yaml"},
	"push":                    {"push.yaml"},
	"push, replicas":          {"replicas.yaml", "push.yaml", "push-replicas.yaml"},
	"another mail server":     {"smtp.yaml"},
	"observe":                 {"observe.yaml"},
	"observe, replicas":       {"replicas.yaml", "observe.yaml", "observe-replicas.yaml"},
	"observe, much else":      {"kafka-embedded.yaml", "sqlite.yaml", "smtp.yaml", "push.yaml", "observe.yaml"},
	"kafka, redis, replicas":  {"kafka.yaml", "redis.yaml", "replicas.yaml"},
	"kafka-embedded, sqlite":  {"kafka-embedded.yaml", "sqlite.yaml"},
	"kafka-embedded, replica": {"kafka-embedded.yaml", "replicas.yaml"},
}

var required = regexp.MustCompile(`\$\{([A-Z0-9_]+):\?([^}]*)\}`)

// load reads the compose files as Compose does. Each required variable has a different value.
func load(r repository.Root, overrides ...string) (*types.Project, error) {
	files := []string{filepath.Join(string(r), "compose", "compose.yaml")}
	for _, name := range overrides {
		files = append(files, filepath.Join(string(r), "compose", name))
	}
	environment := map[string]string{"SMTP_HOST": "smtp.example"}
	all, err := filepath.Glob(filepath.Join(string(r), "compose", "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, file := range all {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, match := range required.FindAllStringSubmatch(string(content), -1) {
			environment[match[1]] = "secret-" + strings.ToLower(match[1])
		}
	}
	options, err := cli.NewProjectOptions(files, cli.WithResolvedPaths(true), cli.WithWorkingDirectory(filepath.Dir(files[0])))
	if err != nil {
		return nil, err
	}
	options.Environment = environment
	return options.LoadProject(context.Background())
}

// flagsOf returns the flags --name=value.
func flagsOf(service types.ServiceConfig) map[string]string {
	flags := map[string]string{}
	for _, word := range append(append([]string{}, service.Entrypoint...), service.Command...) {
		if name, value, found := strings.Cut(word, "="); found {
			flags[name] = value
		}
	}
	return flags
}

func environmentOf(service types.ServiceConfig) map[string]string {
	values := map[string]string{}
	for name, value := range service.Environment {
		if value != nil {
			values[name] = *value
		}
	}
	return values
}

func number(n int) string { return fmt.Sprint(n) }

func networksOf(service types.ServiceConfig) map[string]bool {
	names := map[string]bool{}
	for name := range maps.Keys(service.Networks) {
		names[name] = true
	}
	return names
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
