// Package repository is what the tests of the ways to run Caravan (compose/, k8s/) have in common: the apps of
// dapr/dapr.yaml, the Dapr resources that an app has, and a copy of the repository to plant a fault in.
package repository

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"caravan/dapr/launcher/manifest"
)

// Root is the folder of the repository, or of a copy of what is needed of it.
type Root string

// App is one of dapr/dapr.yaml.
type App struct {
	ID       string `yaml:"appID"`
	Port     int    `yaml:"appPort"`
	HTTPPort int    `yaml:"daprHTTPPort"`
	GRPCPort int    `yaml:"daprGRPCPort"`
	Metrics  int    `yaml:"metricsPort"`
	// Protocol is the common one unless the app has its own.
	Protocol string `yaml:"appProtocol"`
}

// Common is what the sidecars of dapr/dapr.yaml have in common.
type Common struct {
	Protocol       string `yaml:"appProtocol"`
	LogLevel       string `yaml:"logLevel"`
	ReadBufferSize string `yaml:"readBufferSize"`
}

// RunFile reads dapr/dapr.yaml.
func (r Root) RunFile() (map[string]App, Common, error) {
	content, err := os.ReadFile(filepath.Join(string(r), "dapr", "dapr.yaml"))
	if err != nil {
		return nil, Common{}, fmt.Errorf("reading the run file: %w", err)
	}
	var file struct {
		Common Common
		Apps   []App
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		return nil, Common{}, fmt.Errorf("reading the run file: %w", err)
	}
	apps := map[string]App{}
	for _, a := range file.Apps {
		a.Protocol = cmp.Or(a.Protocol, file.Common.Protocol)
		apps[a.ID] = a
	}
	return apps, file.Common, nil
}

// AppIDs are the apps of dapr/dapr.yaml, sorted, the gateway among them. It panics when there is no such file: no test
// of the repository can do without it.
func (r Root) AppIDs() []string {
	apps, _, err := r.RunFile()
	if err != nil {
		panic(err)
	}
	return slices.Sorted(maps.Keys(apps))
}

// Resources are the Dapr resources that an app has in dapr/resources and, of every kind of broker, store and mail server, in
// components/.
func (r Root) Resources(app string) ([]manifest.Document, error) {
	documents, err := manifest.ReadFolder(filepath.Join(string(r), "dapr", "resources"))
	if err != nil {
		return nil, err
	}
	for _, set := range []string{"rabbitmq", "kafka", "redis-streams", "sqlite", "postgres", "redis", "email"} {
		read, err := manifest.ReadSet(filepath.Join(string(r), "components", set), app)
		if err != nil {
			return nil, err
		}
		documents = append(documents, read...)
	}
	return slices.DeleteFunc(documents, func(d manifest.Document) bool { return !d.For(app) }), nil
}

// Whereabouts are the settings of a component that say where its server is and who asks.
var Whereabouts = []string{"connectionString", "brokers", "redisHost", "redisPassword", "host", "port", "user", "password"}

// Same reports whether two resources differ at most in where a server is.
func Same(a, b manifest.Document) bool {
	if a.Component == nil || b.Component == nil {
		a.File, b.File, a.Index, b.Index = "", "", 0, 0
		return reflect.DeepEqual(a, b)
	}
	return reflect.DeepEqual(placeless(*a.Component), placeless(*b.Component))
}

// placeless is a component without the settings that say where its server is.
func placeless(c manifest.Component) manifest.Component {
	c.Auth = nil
	c.Spec.Metadata = slices.DeleteFunc(slices.Clone(c.Spec.Metadata), func(item manifest.Item) bool {
		return slices.Contains(Whereabouts, item.Name) && c.Spec.Type != "state.sqlite"
	})
	return c
}

// Configuration reads a file with one Configuration.
func Configuration(file string) (manifest.Configuration, error) {
	documents, err := manifest.Read(file)
	if err != nil {
		return manifest.Configuration{}, err
	}
	if len(documents) != 1 || documents[0].Configuration == nil {
		return manifest.Configuration{}, fmt.Errorf("%s is not one Configuration", file)
	}
	return *documents[0].Configuration, nil
}

// Copy copies folders of the repository.
func (r Root) Copy(t testing.TB, folders ...string) Root {
	t.Helper()
	to := t.TempDir()
	for _, folder := range folders {
		if err := os.CopyFS(filepath.Join(to, folder), os.DirFS(filepath.Join(string(r), folder))); err != nil {
			t.Fatal(err)
		}
	}
	return Root(to)
}

// Replace changes the first place where a file of a copy says old.
func (r Root) Replace(t testing.TB, file, old, new string) {
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
