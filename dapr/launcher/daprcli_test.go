package launcher

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"caravan/dapr/launcher/manifest"
	"caravan/dapr/launcher/process"

	"go.yaml.in/yaml/v3"
)

// The structs of the Dapr CLI's run file, with its tags, from version 1.17.1 of github.com/dapr/cli:
// pkg/runfileconfig/run_file_config.go and pkg/standalone/run.go. The CLI itself ignores keys that it does not know.

type cliRunFile struct {
	Common     cliShared `yaml:"common"`
	Apps       []cliApp  `yaml:"apps"`
	Version    int       `yaml:"version"`
	Name       string    `yaml:"name,omitempty"`
	Components string    `yaml:"x-components"` // an extension of ours, as is the next
	Broker     string    `yaml:"x-broker"`
}

type cliApp struct {
	Shared            cliShared `yaml:",inline"`
	AppID             string    `env:"APP_ID" arg:"app-id" yaml:"appID"`
	AppChannelAddress string    `env:"APP_CHANNEL_ADDRESS" arg:"app-channel-address" ifneq:"127.0.0.1" yaml:"appChannelAddress"`
	AppPort           int       `env:"APP_PORT" arg:"app-port" yaml:"appPort" default:"-1"`
	HTTPPort          int       `env:"DAPR_HTTP_PORT" arg:"dapr-http-port" yaml:"daprHTTPPort" default:"-1"`
	GRPCPort          int       `env:"DAPR_GRPC_PORT" arg:"dapr-grpc-port" yaml:"daprGRPCPort" default:"-1"`
	ProfilePort       int       `arg:"profile-port" yaml:"profilePort" default:"-1"`
	Command           []string  `yaml:"command"`
	MetricsPort       int       `env:"DAPR_METRICS_PORT" arg:"metrics-port" yaml:"metricsPort" default:"-1"`
	UnixDomainSocket  string    `arg:"unix-domain-socket" yaml:"unixDomainSocket"`
	InternalGRPCPort  int       `arg:"dapr-internal-grpc-port" yaml:"daprInternalGRPCPort" default:"-1"`

	ContainerImage           string `yaml:"containerImage"`
	ContainerImagePullPolicy string `yaml:"containerImagePullPolicy"`
	CreateService            bool   `yaml:"createService"`
	AppDirPath               string `yaml:"appDirPath"`
}

type cliShared struct {
	ConfigFile           string            `arg:"config" yaml:"configFilePath"`
	AppProtocol          string            `arg:"app-protocol" yaml:"appProtocol" default:"http"`
	APIListenAddresses   string            `arg:"dapr-listen-addresses" yaml:"apiListenAddresses"`
	EnableProfiling      bool              `arg:"enable-profiling" yaml:"enableProfiling"`
	LogLevel             string            `arg:"log-level" yaml:"logLevel"`
	MaxConcurrency       int               `arg:"app-max-concurrency" yaml:"appMaxConcurrency" default:"-1"`
	PlacementHostAddr    *string           `arg:"placement-host-address" yaml:"placementHostAddress"`
	ComponentsPath       string            `arg:"components-path"`
	ResourcesPath        string            `yaml:"resourcesPath"`
	ResourcesPaths       []string          `arg:"resources-path" yaml:"resourcesPaths"`
	AppSSL               bool              `arg:"app-ssl" yaml:"appSSL"`
	MaxRequestBodySize   string            `arg:"max-body-size" yaml:"maxBodySize" default:"4Mi"`
	HTTPReadBufferSize   string            `arg:"read-buffer-size" yaml:"readBufferSize" default:"4Ki"`
	EnableAppHealth      bool              `arg:"enable-app-health-check" yaml:"enableAppHealthCheck"`
	AppHealthPath        string            `arg:"app-health-check-path" yaml:"appHealthCheckPath"`
	AppHealthInterval    int               `arg:"app-health-probe-interval" ifneq:"0" yaml:"appHealthProbeInterval"`
	AppHealthTimeout     int               `arg:"app-health-probe-timeout" ifneq:"0" yaml:"appHealthProbeTimeout"`
	AppHealthThreshold   int               `arg:"app-health-threshold" ifneq:"0" yaml:"appHealthThreshold"`
	EnableAPILogging     bool              `arg:"enable-api-logging" yaml:"enableApiLogging"`
	DaprdInstallPath     string            `yaml:"runtimePath"`
	Env                  map[string]string `yaml:"env"`
	DaprdLogDestination  string            `yaml:"daprdLogDestination"`
	AppLogDestination    string            `yaml:"appLogDestination"`
	SchedulerHostAddress *string           `arg:"scheduler-host-address" yaml:"schedulerHostAddress"`
}

// readLikeCLI reads a run file in a folder with the rules of the Dapr CLI, and refuses keys that it would ignore.
func readLikeCLI(folder string, raw []byte) ([]cliApp, error) {
	var file cliRunFile
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		return nil, err
	}
	if file.Version == 0 {
		return nil, fmt.Errorf("no version")
	}
	if err := file.Common.resolve(folder); err != nil {
		return nil, err
	}
	for i := range file.Apps {
		a := &file.Apps[i]
		if a.AppDirPath == "" {
			return nil, fmt.Errorf("%s: no appDirPath", a.AppID)
		}
		a.AppDirPath = filepath.Join(folder, a.AppDirPath)
		if err := a.Shared.resolve(a.AppDirPath); err != nil {
			return nil, fmt.Errorf("%s: %w", a.AppID, err)
		}
		a.merge(file.Common)
		a.setDefaults()
	}
	return file.Apps, nil
}

// resolve makes paths relative to a folder and requires that they exist.
func (s *cliShared) resolve(folder string) error {
	paths := []*string{&s.ConfigFile, &s.DaprdInstallPath, &s.ResourcesPath}
	for i := range s.ResourcesPaths {
		paths = append(paths, &s.ResourcesPaths[i])
	}
	for _, path := range paths {
		if *path == "" {
			continue
		}
		*path = filepath.Join(folder, *path)
		if _, err := os.Stat(*path); err != nil {
			return err
		}
	}
	return nil
}

// merge copies what an app does not set from the common section: whole lists, but single variables.
func (a *cliApp) merge(common cliShared) {
	own, shared := reflect.ValueOf(&a.Shared).Elem(), reflect.ValueOf(common)
	for i := range own.NumField() {
		if own.Field(i).IsZero() {
			own.Field(i).Set(shared.Field(i))
		}
	}
	env := maps.Clone(common.Env)
	maps.Copy(env, a.Shared.Env)
	a.Shared.Env = env
}

func (a *cliApp) setDefaults() {
	for _, value := range []reflect.Value{reflect.ValueOf(a).Elem(), reflect.ValueOf(&a.Shared).Elem()} {
		for i := range value.NumField() {
			standard := value.Type().Field(i).Tag.Get("default")
			if standard == "" || !value.Field(i).IsZero() {
				continue
			}
			if field := value.Field(i); field.Kind() == reflect.String {
				field.SetString(standard)
			} else {
				field.SetInt(-1) // the only default of a number
			}
		}
	}
	// These are the addresses with a runtime of 1.15 or newer. An address of spaces later becomes none.
	if a.Shared.SchedulerHostAddress == nil || *a.Shared.SchedulerHostAddress == "" {
		a.Shared.SchedulerHostAddress = new(string)
		*a.Shared.SchedulerHostAddress = "localhost:50006"
	}
	if a.Shared.PlacementHostAddr == nil {
		a.Shared.PlacementHostAddr = new(string)
		*a.Shared.PlacementHostAddr = "localhost:50005"
	}
}

// flags are the flags that the CLI gives a sidecar, without those for the resources.
func (a *cliApp) flags() map[string]string {
	flags := map[string]string{}
	for _, value := range []reflect.Value{reflect.ValueOf(*a), reflect.ValueOf(a.Shared)} {
		for i := range value.NumField() {
			tag := value.Type().Field(i).Tag
			text := ""
			switch field := value.Field(i).Interface().(type) {
			case bool:
				if field {
					text = "true"
				}
			case *string:
				text = strings.TrimSpace(*field)
			case string, int:
				text = fmt.Sprint(field)
			}
			if name := tag.Get("arg"); name != "" && text != "" && text != tag.Get("ifneq") {
				flags["--"+name] = text
			}
		}
	}
	return flags
}

// environment is what the CLI adds to a program's environment.
func (a *cliApp) environment() map[string]string {
	env := map[string]string{"APP_PROTOCOL": a.Shared.AppProtocol}
	value := reflect.ValueOf(*a)
	for i := range value.NumField() {
		if name := value.Type().Field(i).Tag.Get("env"); name != "" {
			env[name] = fmt.Sprint(value.Field(i).Interface())
		}
	}
	maps.Copy(env, a.Shared.Env)
	return env
}

// complain compares what the CLI would start from a run file with what the launcher starts from that of the repository.
func complain(s *Stack, raw []byte) []string {
	apps, err := readLikeCLI(filepath.Join(repository, "dapr"), raw)
	if err != nil {
		return []string{err.Error()}
	}
	if len(apps) != len(s.plan.Apps) {
		return []string{fmt.Sprintf("%d apps instead of %d", len(apps), len(s.plan.Apps))}
	}
	var complaints []string
	for i, own := range s.plan.Apps {
		told := Link{AppPort: own.Port, HTTPPort: own.HTTPPort, GRPCPort: own.GRPCPort}
		sidecar, program := s.sidecarSpec(own, own.ID, told), s.programSpec(own, own.ID, told)
		for _, complaint := range slices.Concat(compareFlags(&apps[i], sidecar), compareEnvironment(&apps[i], program), checkResources(&apps[i])) {
			complaints = append(complaints, own.ID+": "+complaint)
		}
	}
	return complaints
}

// These flags are set on one side only: the CLI's have daprd's own defaults, or say where files are.
var (
	cliOnly      = []string{"--config", "--profile-port", "--app-max-concurrency", "--max-body-size"}
	launcherOnly = []string{
		"--config", "--resources-path", "--mode", "--app-channel-address", "--log-as-json", "--enable-profiling=false",
		"--dapr-internal-grpc-listen-address", "--metrics-listen-address", "--dapr-graceful-shutdown-seconds",
	}
)

func compareFlags(a *cliApp, sidecar process.Spec) []string {
	own := map[string]string{}
	for i, arg := range sidecar.Args {
		if strings.HasPrefix(arg, "--") && !slices.Contains(launcherOnly, arg) {
			own[arg] = sidecar.Args[i+1]
		}
	}
	theirs := a.flags()
	for _, flag := range cliOnly {
		delete(theirs, flag)
	}
	return differences(theirs, own)
}

func compareEnvironment(a *cliApp, program process.Spec) []string {
	theirs, own := a.environment(), map[string]string{}
	for _, variable := range program.Env {
		if name, value, _ := strings.Cut(variable, "="); theirs[name] != "" {
			own[name] = value
		}
	}
	for _, onPurpose := range []string{"CARAVAN_HEARTBEAT_EVERY", "CARAVAN_KEYS_DIR", "APP_CHANNEL_ADDRESS"} {
		delete(theirs, onPurpose)
		delete(own, onPurpose)
	}
	complaints := differences(theirs, own)
	if got := a.environment()["CARAVAN_HEARTBEAT_EVERY"]; got != "0" {
		complaints = append(complaints, "heartbeats every "+got+", although the CLI restarts nothing")
	}
	return complaints
}

func differences(cli, launcher map[string]string) []string {
	var found []string
	all := maps.Clone(launcher)
	maps.Copy(all, cli)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if cli[name] != launcher[name] {
			found = append(found, fmt.Sprintf("%s is %q under the CLI and %q under the launcher", name, cli[name], launcher[name]))
		}
	}
	return found
}

// checkResources requires that the folders of an app have resources only, each once, and all that the app needs.
func checkResources(a *cliApp) []string {
	var complaints []string
	have := map[string]bool{}
	for _, folder := range a.Shared.ResourcesPaths {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return []string{err.Error()}
		}
		for _, entry := range entries {
			if entry.IsDir() || filepath.Ext(entry.Name()) != ".yaml" {
				complaints = append(complaints, filepath.Join(folder, entry.Name())+" is no YAML file")
			}
		}
		documents, err := manifest.ReadFolder(folder)
		if err != nil {
			return append(complaints, err.Error())
		}
		for _, d := range documents {
			if have[d.Kind+" "+d.Metadata.Name] {
				complaints = append(complaints, d.At()+" is there twice")
			}
			have[d.Kind+" "+d.Metadata.Name] = true
		}
	}
	if a.AppID != "gateway" && (!have["Component pubsub"] || !have["Component store"]) || !have["Resiliency gateway"] {
		complaints = append(complaints, fmt.Sprintf("resources are missing; there are %v", slices.Sorted(maps.Keys(have))))
	}
	return complaints
}

func runFileAndStack(t *testing.T) ([]byte, *Stack) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(repository, "dapr", "dapr.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := newStack(Options{Root: repository, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return raw, s
}

func TestTheDaprCLIWouldStartTheSame(t *testing.T) {
	raw, s := runFileAndStack(t)
	for _, complaint := range complain(s, raw) {
		t.Error(complaint)
	}
	for name, change := range map[string]struct{ old, new, want string }{
		"misspelt key":            {"appPort: 7001", "appport: 7001", "appport not found"},
		"no version":              {"version: 1\n", "", "no version"},
		"missing folder":          {"[./dapr/resources, *broker, ./components/sqlite/users]", "[./dapr/nowhere]", "no such file"},
		"missing config":          {"configFilePath: config.yaml", "configFilePath: ../config.yaml", "no such file"},
		"other port":              {"daprGRPCPort: 3603", "daprGRPCPort: 3693", `orders: --dapr-grpc-port is "3693"`},
		"folder with other files": {"[./dapr/resources, *broker, ./components/sqlite/users]", "[./dapr]", "main.go is no YAML file"},
		"store of nobody":         {", ./components/sqlite/users]", "]", "users: resources are missing"},
		"both stores":             {", ./components/sqlite/users]", ", ./components/sqlite/users, ./components/redis]", "Component store is there twice"},
		"small headers":           {"  readBufferSize: 32Ki\n", "", `--read-buffer-size is "4Ki"`},
		"scheduler":               {`schedulerHostAddress: " "`, `schedulerHostAddress: ""`, `--scheduler-host-address is "localhost:50006"`},
		"placement":               {"  placementHostAddress: \"\"\n", "", `--placement-host-address is "localhost:50005"`},
		"heartbeats":              {`CARAVAN_HEARTBEAT_EVERY: "0"`, `CARAVAN_HEARTBEAT_EVERY: 10s`, "although the CLI restarts nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := bytes.Replace(raw, []byte(change.old), []byte(change.new), 1)
			if bytes.Equal(changed, raw) {
				t.Fatalf("dapr.yaml does not hold %q any more", change.old)
			}
			if got := strings.Join(complain(s, changed), "\n"); !strings.Contains(got, change.want) {
				t.Errorf("got %q, want %q", got, change.want)
			}
		})
	}
}

func TestOneLineOfTheRunFileSwapsTheBroker(t *testing.T) {
	raw, s := runFileAndStack(t)
	const line = "x-broker: &broker ./components/rabbitmq\n"
	if bytes.Count(raw, []byte("rabbitmq")) != 1 || !bytes.Contains(raw, []byte(line)) {
		t.Fatalf("dapr.yaml does not name the broker in the one line %q", line)
	}
	for _, broker := range []string{"kafka", "redis-streams"} {
		swapped := bytes.Replace(raw, []byte("rabbitmq"), []byte(broker), 1)
		for _, complaint := range complain(s, swapped) {
			t.Errorf("%s: %s", broker, complaint)
		}
		apps, err := readLikeCLI(filepath.Join(repository, "dapr"), swapped)
		if err != nil || !slices.Contains(apps[2].Shared.ResourcesPaths, filepath.Join(repository, "components", broker)) {
			t.Errorf("orders does not use %s: %v, %v", broker, apps[2].Shared.ResourcesPaths, err)
		}
	}
}

func TestDoctorNamesWhatWouldStopTheDaprCLI(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("PATH", folder)
	p, err := readPlan(filepath.Join(repository, "dapr", "dapr.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"DAPR_API_TOKEN": "x"}
	check := func() Finding {
		return checkDaprCLI(t.Context(), p, folder, func(name string) string { return env[name] })
	}
	if got := check(); got.Severity != Optional || got.Detail != "not on the PATH" {
		t.Errorf("without a CLI: %+v", got)
	}

	install := func(version string) {
		script := "#!/bin/sh\necho 'CLI version: " + version + " '\necho 'Runtime version: 1.18.1'\n"
		if err := os.WriteFile(filepath.Join(folder, "dapr"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	install("1.17.0")
	// The test has its own broker, which does not exist at first.
	broker := filepath.Join(folder, "broker")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	raw, err := os.ReadFile(filepath.Join(repository, "components", "rabbitmq", "pubsub.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(broker, 0o700), os.WriteFile(filepath.Join(broker, "pubsub.yaml"),
		bytes.Replace(raw, []byte("127.0.0.1:5672"), []byte(address), 1), 0o600)); err != nil {
		t.Fatal(err)
	}
	p.Apps[0].Dir, p.Broker = folder, "broker"
	got := check()
	for _, want := range []string{"older than 1.17.1", ".dapr/data is missing", ".dapr/bin/daprd is missing", "APP_API_TOKEN is not set", "DAPR_API_TOKEN is set", "no broker answers at " + address} {
		if !strings.Contains(got.Advice, want) {
			t.Errorf("%+v does not say %q", got, want)
		}
	}

	install("1.17.1")
	env = map[string]string{"APP_API_TOKEN": "x"}
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := errors.Join(PrepareDaprCLI(folder), linkSidecar(filepath.Join(folder, ".dapr", "bin"), filepath.Join(folder, "dapr"))); err != nil {
		t.Fatal(err)
	}
	if got := check(); got.Severity != Good || got.Advice != "" {
		t.Errorf("with all there: %+v", got)
	}
}

func TestEveryBrokerComponentSaysWhereItIs(t *testing.T) {
	p, err := readPlan(filepath.Join(repository, "dapr", "dapr.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for broker, want := range map[string]string{"rabbitmq": "127.0.0.1:5672", "kafka": "127.0.0.1:9092", "redis-streams": "127.0.0.1:6379"} {
		p.Broker = "./components/" + broker
		if got, err := p.brokerAddress(); got != want {
			t.Errorf("%s is at %q, %v", broker, got, err)
		}
	}
}

func TestVersionsOfTheDaprCLI(t *testing.T) {
	for version, want := range map[string]bool{
		"1.17.1": true, "v1.17.1": true, "1.17.2-rc.1": true, "1.18.0": true, "2.0.0": true, "edge": true,
		"1.17.0": false, "1.16.9": false, "an unknown version": false, "": false,
	} {
		if got := recentCLI(version); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}

func TestDocumentedCommandsOfTheDaprCLIAreRight(t *testing.T) {
	raw, s := runFileAndStack(t)
	apps, err := readLikeCLI(filepath.Join(repository, "dapr"), raw)
	if err != nil {
		t.Fatal(err)
	}
	want := apps[slices.Index(s.plan.ids(), "orders")].flags()
	commands := documentedRuns(t)
	if len(commands) != 2 {
		t.Fatalf("found %d commands of one service, want 2", len(commands))
	}
	for _, command := range commands {
		given := map[string]string{}
		for i, word := range command {
			if word == "--" {
				if got := strings.Join(command[i+1:], " "); got != "go run ./services/orders" {
					t.Errorf("it runs %s", got)
				}
				break
			}
			if !strings.HasPrefix(word, "--") {
				continue
			}
			value := strings.Trim(command[i+1], `"`)
			given[word] = value
			inRepository := !strings.HasPrefix(value, ".dapr/")
			if path := word == "--config" || word == "--resources-path"; path && inRepository {
				if _, err := os.Stat(filepath.Join(repository, value)); err != nil {
					t.Error(err)
				}
			}
		}
		for _, flag := range slices.Sorted(maps.Keys(given)) {
			switch flag {
			case "--config", "--resources-path", "--runtime-path":
			case "--placement-host-address", "--scheduler-host-address":
				if given[flag] != "" {
					t.Errorf("%s is %q", flag, given[flag])
				}
			default:
				if given[flag] != want[flag] {
					t.Errorf("%s is %q, and %q in the run file", flag, given[flag], want[flag])
				}
			}
		}
		for _, flag := range []string{"--app-port", "--dapr-internal-grpc-port", "--metrics-port", "--read-buffer-size", "--scheduler-host-address", "--placement-host-address"} {
			if _, ok := given[flag]; !ok {
				t.Errorf("%s is missing", flag)
			}
		}
		if !slices.Contains(command, "CARAVAN_HEARTBEAT_EVERY=0") {
			t.Error("heartbeats are on")
		}
	}
}

// documentedRuns returns the words of the commands in docs/running.md that run one service with the Dapr CLI.
func documentedRuns(t *testing.T) [][]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(repository, "docs", "running.md"))
	if err != nil {
		t.Fatal(err)
	}
	var commands [][]string
	for _, line := range strings.Split(strings.ReplaceAll(string(raw), "\\\n", " "), "\n") {
		if strings.HasPrefix(line, "    ") && strings.Contains(line, "dapr run --app-id") {
			commands = append(commands, strings.Fields(line))
		}
	}
	return commands
}
