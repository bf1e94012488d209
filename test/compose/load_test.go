// Package compose holds that the files in compose/ start the same stack as dapr/dapr.yaml, and keep its programs apart.
// It is a module of its own, so that Compose's loader is no dependency of the product.
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
	"go.yaml.in/yaml/v3"
)

// repository is the root of the repository, or of a copy of what is needed of it.
type repository string

// variants are the ways to start the stack: files after compose.yaml.
var variants = map[string][]string{
	"postgres":                {},
	"sqlite":                  {"sqlite.yaml"},
	"redis":                   {"redis.yaml"},
	"kafka":                   {"kafka.yaml"},
	"kafka-embedded":          {"kafka-embedded.yaml"},
	"replicas":                {"replicas.yaml"},
	"kafka, redis, replicas":  {"kafka.yaml", "redis.yaml", "replicas.yaml"},
	"kafka-embedded, sqlite":  {"kafka-embedded.yaml", "sqlite.yaml"},
	"kafka-embedded, replica": {"kafka-embedded.yaml", "replicas.yaml"},
}

var required = regexp.MustCompile(`\$\{([A-Z0-9_]+):\?([^}]*)\}`)

// load reads the compose files as Compose does, each required variable with a value of its own.
func (r repository) load(overrides ...string) (*types.Project, error) {
	files := []string{filepath.Join(string(r), "compose", "compose.yaml")}
	for _, name := range overrides {
		files = append(files, filepath.Join(string(r), "compose", name))
	}
	environment := map[string]string{}
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

// app is one of dapr/dapr.yaml.
type app struct {
	ID       string `yaml:"appID"`
	Port     int    `yaml:"appPort"`
	HTTPPort int    `yaml:"daprHTTPPort"`
	GRPCPort int    `yaml:"daprGRPCPort"`
	Metrics  int    `yaml:"metricsPort"`
}

func (r repository) apps() (map[string]app, error) {
	content, err := os.ReadFile(filepath.Join(string(r), "dapr", "dapr.yaml"))
	if err != nil {
		return nil, err
	}
	var file struct{ Apps []app }
	if err := yaml.Unmarshal(content, &file); err != nil {
		return nil, err
	}
	apps := map[string]app{}
	for _, a := range file.Apps {
		apps[a.ID] = a
	}
	return apps, nil
}

// copyOf copies what the tests read of the repository.
func copyOf(t *testing.T, root string) repository {
	t.Helper()
	to := t.TempDir()
	for _, folder := range []string{"compose", "components", "dapr"} {
		if err := os.CopyFS(filepath.Join(to, folder), os.DirFS(filepath.Join(root, folder))); err != nil {
			t.Fatal(err)
		}
	}
	return repository(to)
}

// replace changes one file of a copy.
func (r repository) replace(t *testing.T, file, old, new string) {
	t.Helper()
	file = filepath.Join(string(r), file)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), old) {
		t.Fatalf("%s does not contain %q", file, old)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(content), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// flagsOf reads --name=value.
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
