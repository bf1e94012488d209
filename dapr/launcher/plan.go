// Package launcher runs a whole Caravan stack on one machine: broker, store, and every program in dapr/dapr.yaml with
// its sidecar. Both the command line (go run ./dapr) and the end-to-end tests use it.
package launcher

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"caravan/dapr/launcher/manifest"

	"go.yaml.in/yaml/v3"
)

// plan is a run file: https://docs.dapr.io/developing-applications/local-development/multi-app-dapr-run/multi-app-template/
type plan struct {
	Version    int      `yaml:"version"`
	Common     shared   `yaml:"common"`
	Apps       []*app   `yaml:"apps"`
	Components string   `yaml:"x-components"` // the folder of the component sets
	Broker     string   `yaml:"x-broker"`     // for the Dapr CLI, by aliases; --broker overrides it here
	resources  []string // common resource folders
	folder     string   // of the run file
}

// shared are the settings of the run file that this launcher supports. It refuses any other key, because only the Dapr
// CLI would follow it.
type shared struct {
	ResourcesPaths       []string          `yaml:"resourcesPaths"`
	ConfigFilePath       string            `yaml:"configFilePath"`
	RuntimePath          string            `yaml:"runtimePath"`
	AppProtocol          string            `yaml:"appProtocol"`
	APIListenAddresses   string            `yaml:"apiListenAddresses"`
	LogLevel             string            `yaml:"logLevel"`
	PlacementHostAddress string            `yaml:"placementHostAddress"`
	SchedulerHostAddress string            `yaml:"schedulerHostAddress"`
	ReadBufferSize       string            `yaml:"readBufferSize"`
	Env                  map[string]string `yaml:"env"`
}

// app is one program with its sidecar.
type app struct {
	ID               string            `yaml:"appID"`
	Dir              string            `yaml:"appDirPath"`
	ResourcesPaths   []string          `yaml:"resourcesPaths"`
	Port             int               `yaml:"appPort"`
	Protocol         string            `yaml:"appProtocol"` // "" is the common one
	HTTPPort         int               `yaml:"daprHTTPPort"`
	GRPCPort         int               `yaml:"daprGRPCPort"`
	InternalGRPCPort int               `yaml:"daprInternalGRPCPort"`
	MetricsPort      int               `yaml:"metricsPort"`
	Command          []string          `yaml:"command"`
	Env              map[string]string `yaml:"env"`
}

// readPlan reads and checks a run file.
func readPlan(file string) (*plan, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the run file: %w", err)
	}
	p, err := parsePlan(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	p.folder = filepath.Dir(file)
	p.Components = filepath.Join(p.folder, p.Components)
	for _, path := range p.Common.ResourcesPaths {
		p.resources = append(p.resources, filepath.Join(p.folder, path))
	}
	// The file turns this off for the Dapr CLI, which restarts no sidecar. This launcher does.
	delete(p.Common.Env, "CARAVAN_HEARTBEAT_EVERY")
	for _, a := range p.Apps {
		a.Dir = filepath.Join(p.folder, a.Dir)
	}
	return p, nil
}

func parsePlan(raw []byte) (*plan, error) {
	p := &plan{Components: "../components"}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	decoder.KnownFields(true)
	if err := decoder.Decode(p); err != nil {
		return nil, fmt.Errorf("not a run file: %w", err)
	}
	return p, p.check()
}

func (p *plan) check() error {
	if p.Version != 1 {
		return fmt.Errorf("version is %d, want 1", p.Version)
	}
	if len(p.Apps) == 0 {
		return errors.New("lists no apps")
	}
	ids, ports := map[string]bool{}, map[int]string{}
	for _, a := range p.Apps {
		switch {
		case a.ID == "" || strings.ContainsAny(a.ID, "/ "):
			return fmt.Errorf("appID %q is no name", a.ID)
		case ids[a.ID]:
			return fmt.Errorf("app %s is listed twice", a.ID)
		case a.Dir == "":
			return fmt.Errorf("app %s has no appDirPath", a.ID)
		case len(a.Command) != 3 || a.Command[0] != "go" || a.Command[1] != "run" || filepath.Base(a.Command[2]) != a.ID:
			return fmt.Errorf("app %s: command is %q, want go run ./…/%s: the launcher builds the package and runs the binary", a.ID, strings.Join(a.Command, " "), a.ID)
		}
		ids[a.ID] = true
		for _, port := range a.ports() {
			if *port <= 0 || *port > 65535 {
				return fmt.Errorf("app %s: port %d is not between 1 and 65535", a.ID, *port)
			}
			if other, taken := ports[*port]; taken {
				return fmt.Errorf("apps %s and %s both want port %d", other, a.ID, *port)
			}
			ports[*port] = a.ID
		}
	}
	return nil
}

func (a *app) ports() []*int {
	return []*int{&a.Port, &a.HTTPPort, &a.GRPCPort, &a.InternalGRPCPort, &a.MetricsPort}
}

// ids are the app ids in the order of the file.
func (p *plan) ids() []string {
	var ids []string
	for _, a := range p.Apps {
		ids = append(ids, a.ID)
	}
	return ids
}

// only keeps the named apps.
func (p *plan) only(names []string) error {
	if len(names) == 0 {
		return nil
	}
	for _, name := range names {
		if !slices.Contains(p.ids(), name) {
			return fmt.Errorf("no app is called %q; there are %s", name, strings.Join(p.ids(), ", "))
		}
	}
	p.Apps = slices.DeleteFunc(p.Apps, func(a *app) bool { return !slices.Contains(names, a.ID) })
	return nil
}

// FindRoot returns the nearest folder at or above the start that has a run file: the root of the repository.
func FindRoot(start string) (string, error) {
	for folder := start; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "dapr", "dapr.yaml")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("%s is not inside the repository: run this where it was cloned", start)
		}
	}
}

// topics are all topics with a subscriber.
func (p *plan) topics() ([]string, error) {
	var topics []string
	for _, folder := range p.resources {
		documents, err := manifest.ReadFolder(folder)
		if err != nil {
			return nil, err
		}
		for _, d := range documents {
			if d.Subscription != nil {
				topics = append(topics, d.Subscription.Spec.Topic)
			}
		}
	}
	slices.Sort(topics)
	return slices.Compact(topics), nil
}
