package launcher

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/manifest"
	"caravan/dapr/launcher/process"
)

// StoreServers are the servers of one or more kinds of store in the folder of a stopped stack. Until Close, no stack
// can start in the folder.
type StoreServers struct {
	stack   *Stack // its folder, plan and servers; no programs
	servers map[string]infra.Server
	release func()
}

// StoreComponent is a store as its component file describes it.
type StoreComponent struct {
	Type     string            `json:"type"`
	Settings map[string]string `json:"settings"`
}

// OpenStores locks the folder of a stopped stack. It uses Root, Dir, Bin and Log of the options. The error is
// ErrRunning while a stack runs in the folder.
func OpenStores(options Options) (*StoreServers, error) {
	s, err := newStack(options)
	if err != nil {
		return nil, err
	}
	logs := filepath.Join(s.dir, "logs", "migrate")
	// A database server that does not run as root needs access.
	for _, folder := range []string{filepath.Join(s.dir, "data"), logs} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, fmt.Errorf("preparing the stack's folder: %w", err)
		}
	}
	release, err := claim(filepath.Join(s.dir, "lock"))
	if err != nil {
		return nil, err
	}
	s.supervisor = process.NewSupervisor(logs, nil, nil)
	return &StoreServers{stack: s, servers: map[string]infra.Server{}, release: release}, nil
}

// Start starts the server of each kind of store, if it has one.
func (s *StoreServers) Start(ctx context.Context, kinds ...string) error {
	place := infra.Place{Dir: s.stack.dir, Port: s.stack.ports.Take, Getenv: os.Getenv}
	for _, kind := range kinds {
		server, err := infra.Store(kind, place)
		if err != nil {
			return err
		}
		s.servers[kind] = server
	}
	for _, kind := range kinds {
		server := s.servers[kind]
		for i := range server.Processes {
			server.Processes[i].Name += "-" + server.Kind // there may be two stores
		}
		if err := s.stack.startServer(ctx, server); err != nil {
			return err
		}
	}
	return nil
}

// Close stops the servers and releases the folder.
func (s *StoreServers) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	closeAll(ctx, s.stack.all())
	s.stack.supervisor.Close()
	s.stack.ports.Release()
	s.release()
}

// Root is the folder of the repository.
func (s *StoreServers) Root() string { return s.stack.root }

// Dir is the stack's folder.
func (s *StoreServers) Dir() string { return s.stack.dir }

// Env is the environment of a program that works on the stores.
func (s *StoreServers) Env() []string { return s.stack.baseEnv() }

// Apps are the ids of the stack's apps.
func (s *StoreServers) Apps() []string { return s.stack.plan.ids() }

// Component is the store component of an app with a kind that was started. It is nil if the app stores no documents.
func (s *StoreServers) Component(kind, app string) (*StoreComponent, error) {
	server := s.servers[kind]
	documents, err := manifest.ReadSet(filepath.Join(s.stack.plan.Components, server.Set), app)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(documents, func(d manifest.Document) bool { return d.Component != nil && d.For(app) })
	if at < 0 {
		return nil, nil
	}
	found := override(documents[at:at+1], server.Settings(app))[0].Component
	settings := map[string]string{}
	for _, item := range found.Spec.Metadata {
		if item.EnvRef != "" || item.SecretKeyRef != nil {
			return nil, fmt.Errorf("%s: %s is not given literally", documents[at].At(), item.Name)
		}
		settings[item.Name] = item.Value
	}
	return &StoreComponent{Type: found.Spec.Type, Settings: settings}, nil
}

// BuildSidecarProgram builds the program dapr/daprd/<name> of the sidecar's module, because this module has no driver
// of any store. It returns the program's path.
func (s *StoreServers) BuildSidecarProgram(ctx context.Context, name string) (string, error) {
	bin, log := s.stack.options.Bin, s.stack.options.Log
	target := filepath.Join(bin, name)
	unlock, err := lockFile(filepath.Join(bin, ".programs.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	progress := &buildProgress{what: name, log: log, began: time.Now()}
	defer progress.tell(ctx)()
	// The flags are the same as for daprd, so that its compiled packages are used again.
	_, err = progress.run(ctx, filepath.Join(s.stack.root, "dapr", "daprd"), "build", "-v", "-trimpath", "-ldflags", "-s -w", "-o", target, "./"+name)
	return target, err
}
