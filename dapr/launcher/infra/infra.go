// Package infra starts the servers of a stack: a message broker, a state store and a mail server. Each is either a private one under
// the stack's folder, or one that already runs and is named by an environment variable.
//
// Only this package and its siblings under dapr/launcher know a broker or store by name. Services know the components
// "pubsub" and "store".
package infra

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"caravan/dapr/launcher/process"
)

// Server is one broker, store or mail server that can be started.
type Server struct {
	Kind string // as --broker and --store name it
	URL  string // where programs reach it, with credentials; "" for files
	Set  string // the component set that talks to it, a folder of components/

	// Programs are packages under dapr/launcher that must be built first.
	Programs []string
	// Processes are started in this order, each when the one before is ready. There are none for files, or for a server
	// that already runs.
	Processes []process.Spec
	// Prepare runs before the first process, for example to create a database. It may be nil.
	Prepare func(ctx context.Context) error
	// Settings override the component settings of the set, for one app.
	Settings func(app string) map[string]string
	// MetricsPort is the local port on which the server shows metrics in the format of Prometheus, 0 if it shows none.
	MetricsPort int
	// Notice tells the user which server was chosen when that may surprise.
	Notice string
}

// Place says where a private server runs, and what it uses.
type Place struct {
	Dir     string                       // the stack's folder; data goes under Dir/data
	Topics  []string                     // what a private broker has to have before the first message
	Port    func() (int, error)          // reserves a port
	Program func(name string) string     // path of a program the launcher built
	Getenv  func(name string) string     // the user's environment
	Find    func(string) (string, error) // finds an installed program; nil is exec.LookPath
	Metrics bool                         // whether a private broker has to show metrics, if it can
	// NoPackages ignores the folders outside the PATH in which packages install programs.
	NoPackages bool
}

// ErrNotInstalled says that a server is not installed and not named by its environment variable.
var ErrNotInstalled = errors.New("not installed")

// kind is one choice of --broker or --store.
type kind struct {
	name     string
	variable string // names a running server
	install  string // how to get the program
	server   func(Place) (Server, error)
}

func brokers() []kind {
	return []kind{
		{"rabbitmq", "RABBITMQ_URL", "apt install rabbitmq-server", rabbitmq},
		{"kafka", "KAFKA_BROKERS", "", kafka},
		{"redis-streams", "REDIS_STREAMS_URL", "apt install redis-server", redisStreams},
	}
}

func stores() []kind {
	return []kind{
		{"sqlite", "", "", sqlite},
		{"postgres", "POSTGRES_URL", "apt install postgresql", postgres},
		{"redis", "REDIS_URL", "apt install redis-server", redis},
	}
}

// Variables are the environment variables for servers that already run.
func Variables() []string {
	var all []string
	for _, k := range append(brokers(), stores()...) {
		if k.variable != "" {
			all = append(all, k.variable)
		}
	}
	return append(all, mailVariable)
}

// Auto is the broker choice for the first kind that is available.
const Auto = "auto"

// Brokers are the choices of --broker.
func Brokers() []string { return append([]string{Auto}, names(brokers())...) }

// Stores are the choices of --store; the first is the default.
func Stores() []string { return names(stores()) }

func names(kinds []kind) []string {
	var all []string
	for _, k := range kinds {
		all = append(all, k.name)
	}
	return all
}

// Broker returns the broker of that kind. Auto (or "") takes the first available kind, and says so if it is not the
// preferred one.
func Broker(name string, place Place) (Server, error) {
	if name != Auto && name != "" {
		return choose("broker", brokers(), name, place)
	}
	preferred := brokers()[0]
	server, err := preferred.server(place)
	if !errors.Is(err, ErrNotInstalled) {
		return server, err
	}
	server, err = kafka(place)
	if err != nil {
		return Server{}, err
	}
	server.Notice = fmt.Sprintf("%s is not installed (%s) and %s is not set: using the embedded broker, which speaks Kafka's protocol "+
		"on one node and is meant for development", preferred.name, preferred.install, preferred.variable)
	return server, nil
}

// Store returns the store of that kind; "" is the default.
func Store(name string, place Place) (Server, error) {
	if name == "" {
		name = stores()[0].name
	}
	return choose("store", stores(), name, place)
}

func choose(what string, kinds []kind, name string, place Place) (Server, error) {
	at := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if at < 0 {
		return Server{}, fmt.Errorf("no %s is called %q; there are %s", what, name, strings.Join(names(kinds), ", "))
	}
	chosen := kinds[at]
	server, err := chosen.server(place)
	if errors.Is(err, ErrNotInstalled) {
		return Server{}, fmt.Errorf("%s cannot run here: %w: %s, or set %s to one that runs", name, err, chosen.install, chosen.variable)
	}
	return server, err
}

// Found is what doctor reports about one kind of server.
type Found struct {
	What, Name string
	Path       string // the path, or "" if it is missing
	Advice     string // how to get it
}

// Survey looks for every kind of server.
func Survey(place Place) []Found {
	var all []Found
	for what, kinds := range map[string][]kind{"broker": brokers(), "store": stores()} {
		for _, k := range kinds {
			all = append(all, survey(what, k, place))
		}
	}
	slices.SortFunc(all, func(a, b Found) int { return strings.Compare(a.What+a.Name, b.What+b.Name) })
	return all
}

func survey(what string, k kind, place Place) Found {
	found := Found{What: what, Name: k.name}
	nowhere := place
	nowhere.Dir, nowhere.Port = os.DevNull, func() (int, error) { return 0, nil }
	server, err := k.server(nowhere)
	switch {
	case errors.Is(err, ErrNotInstalled):
		found.Advice = fmt.Sprintf("%s, or set %s to one that runs", k.install, k.variable)
	case k.variable != "" && place.Getenv(k.variable) != "":
		found.Path = "at " + k.variable
	case len(server.Processes) > 0:
		found.Path = server.Processes[len(server.Processes)-1].Path
	default:
		found.Path = "built in"
	}
	return found
}

// Secret reads <dir>/secrets/<name>. If the file is missing, it creates a random secret, so that data written with a
// password is readable at the next start.
func Secret(dir, name string) (string, error) {
	return SecretOf(dir, name, func() (string, error) {
		random := make([]byte, 24)
		_, _ = rand.Read(random)
		return hex.EncodeToString(random), nil
	})
}

// SecretOf is Secret for a secret of a special form, such as a key.
func SecretOf(dir, name string, create func() (string, error)) (string, error) {
	folder := filepath.Join(dir, "secrets")
	file := filepath.Join(folder, name)
	raw, err := os.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(raw)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("reading the secret %s: %w", name, err)
	}
	secret, err := create()
	if err != nil {
		return "", fmt.Errorf("creating the secret %s: %w", name, err)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("keeping the secret %s: %w", name, err)
	}
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keeping the secret %s: %w", name, err)
	}
	return secret, nil
}

// find looks for a program on the PATH, and then in the folders that distributions use.
func (p Place) find(name string, elsewhere ...string) (string, error) {
	for _, pattern := range elsewhere {
		if p.NoPackages {
			break
		}
		matches, _ := filepath.Glob(pattern)
		slices.Sort(matches)
		if len(matches) > 0 {
			return matches[len(matches)-1], nil
		}
	}
	find := p.Find
	if find == nil {
		find = exec.LookPath
	}
	path, err := find(name)
	if err != nil {
		return "", fmt.Errorf("%s is %w", name, ErrNotInstalled)
	}
	return path, nil
}

// same returns settings that do not depend on the app.
func same(settings map[string]string) func(string) map[string]string {
	return func(string) map[string]string { return settings }
}

// environment is the part of the user's environment that a private server gets.
func (p Place) environment(more ...string) []string {
	return append([]string{"PATH=" + p.Getenv("PATH"), "LANG=C.UTF-8", "TZ=UTC"}, more...)
}

// folders makes the folders for the files of a private server.
func folders(paths ...string) error {
	for _, path := range paths {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return fmt.Errorf("making a folder for a server: %w", err)
		}
	}
	return nil
}
