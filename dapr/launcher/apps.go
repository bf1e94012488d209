package launcher

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/manifest"
	"caravan/dapr/launcher/process"
)

// render writes the resources that each sidecar loads: the files of dapr/resources and of the chosen component sets
// that are in its scope, with the settings for the addresses of the servers. Each app has its own folder, because
// daprd refuses two components of the same name, whatever their scopes.
func (s *Stack) render() error {
	var common []manifest.Document
	for _, folder := range s.plan.resources {
		documents, err := manifest.ReadFolder(folder)
		if err != nil {
			return err
		}
		common = append(common, documents...)
	}
	for _, a := range s.plan.Apps {
		documents := slices.Clone(common)
		for _, server := range []struct {
			what string
			infra.Server
		}{{"broker", s.broker}, {"store", s.store}, {"mail", s.mail}} {
			if server.Set == "" {
				continue
			}
			set, err := manifest.ReadSet(filepath.Join(s.plan.Components, server.Set), a.ID)
			if err != nil {
				return err
			}
			set = slices.DeleteFunc(set, func(d manifest.Document) bool { return !d.For(a.ID) })
			if len(set) == 0 {
				continue
			}
			settings, err := s.reroute(a.ID, server.what, server.Server)
			if err != nil {
				return err
			}
			documents = append(documents, override(set, settings)...)
		}
		documents = slices.DeleteFunc(documents, func(d manifest.Document) bool {
			return !d.For(a.ID)
		})
		if err := manifest.Write(s.resources(a), documents); err != nil {
			return err
		}
	}
	return s.renderConfiguration()
}

// override changes the settings of components to the given ones.
func override(documents []manifest.Document, settings map[string]string) []manifest.Document {
	for _, d := range documents {
		if d.Component == nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			d.Component.Set(name, settings[name])
		}
	}
	return documents
}

func (s *Stack) renderConfiguration() error {
	documents, err := manifest.Read(filepath.Join(s.plan.folder, s.plan.Common.ConfigFilePath))
	if err != nil {
		return err
	}
	configuration := documents[0].Configuration
	if len(documents) != 1 || configuration == nil || configuration.Spec.NameResolution == nil {
		return fmt.Errorf("%s: want one Configuration with a name resolution", s.plan.Common.ConfigFilePath)
	}
	configuration.Spec.NameResolution.Configuration["connectionString"] = infra.SQLiteURI(s.nameResolutionFile())
	if err := manifest.Write(filepath.Join(s.dir, "run", "config"), documents); err != nil {
		return err
	}
	return os.Rename(filepath.Join(s.dir, "run", "config", "configuration-"+documents[0].Metadata.Name+".yaml"), s.configFile())
}

func (s *Stack) nameResolutionFile() string { return filepath.Join(s.dir, "run", "nameresolution.db") }
func (s *Stack) resources(a *app) string    { return filepath.Join(s.dir, "run", "resources", a.ID) }
func (s *Stack) configFile() string         { return filepath.Join(s.dir, "run", "config.yaml") }

// startApps starts every sidecar and program at once, because each waits for the other.
func (s *Stack) startApps() error {
	var started []*process.Process
	for _, a := range s.plan.Apps {
		for number := 1; number <= s.replicas(a.ID); number++ {
			replica, name := *a, a.ID
			if number > 1 {
				name += "-" + strconv.Itoa(number)
				for _, port := range replica.ports() {
					free, err := s.ports.Take()
					if err != nil {
						return err
					}
					*port = free
				}
			}
			s.mu.Lock()
			s.internal[name+"-daprd"] = net.JoinHostPort("127.0.0.1", strconv.Itoa(replica.InternalGRPCPort))
			s.scraped = append(s.scraped, scraped{app: a.ID, name: name, port: replica.Port, sidecarPort: replica.MetricsPort})
			s.mu.Unlock()
			told, err := s.between(&replica, name)
			if err != nil {
				return err
			}
			for _, spec := range []process.Spec{s.sidecarSpec(&replica, name, told), s.programSpec(&replica, name, told)} {
				p, err := s.add(spec)
				if err != nil {
					return err
				}
				started = append(started, p)
			}
		}
	}
	for _, p := range started {
		p.Start()
	}
	return nil
}

// replicas is how many of an app run.
func (s *Stack) replicas(app string) int {
	number, own := s.options.AppReplicas[app]
	if !own && app != gatewayApp {
		number = s.options.Replicas
	}
	return max(1, number)
}

func (s *Stack) sidecarSpec(a *app, name string, told Link) process.Spec {
	host := s.plan.Common.APIListenAddresses
	args := []string{
		"--app-id", a.ID,
		"--app-port", strconv.Itoa(told.AppPort),
		"--app-protocol", cmp.Or(a.Protocol, s.plan.Common.AppProtocol),
		"--app-channel-address", "127.0.0.1",
		"--mode", "standalone",
		"--dapr-listen-addresses", host,
		"--dapr-http-port", strconv.Itoa(a.HTTPPort),
		"--dapr-grpc-port", strconv.Itoa(a.GRPCPort),
		"--dapr-internal-grpc-port", strconv.Itoa(a.InternalGRPCPort),
		"--dapr-internal-grpc-listen-address", "127.0.0.1",
		"--metrics-port", strconv.Itoa(a.MetricsPort),
		"--metrics-listen-address", "127.0.0.1",
		"--resources-path", listOf(s.resources(a)),
		"--config", listOf(s.configFile()),
		"--log-level", s.plan.Common.LogLevel,
		"--log-as-json",
		"--enable-profiling=false",
		"--read-buffer-size", s.plan.Common.ReadBufferSize,
		"--dapr-graceful-shutdown-seconds", "5",
	}
	env := append(s.baseEnv(),
		"DAPR_HOST_IP=127.0.0.1",
		"DAPR_API_TOKEN="+s.tokens.api,
		"APP_API_TOKEN="+s.tokens.app,
	)
	return process.Spec{
		Name: name + "-daprd",
		URL:  fmt.Sprintf("http://127.0.0.1:%d", a.HTTPPort),
		Path: s.sidecar.Path,
		Args: args,
		Env:  slices.Concat(env, runtimeEnv(""), s.telemetryEnv(name+"-daprd")),
		Dir:  s.root,
		// The sidecar exits when it cannot reach one of them at its start.
		Needs: s.servers(),
		// The probe returns 204 once components are loaded and the program can be reached.
		Ready: probe(fmt.Sprintf("http://127.0.0.1:%d/v1.0/healthz", a.HTTPPort), http.StatusNoContent),
	}
}

// listOf writes a path for a flag of daprd that takes a list, as a line of CSV.
func listOf(path string) string {
	var line strings.Builder
	writer := csv.NewWriter(&line)
	_ = writer.Write([]string{path}) // a strings.Builder never fails
	writer.Flush()
	return strings.TrimSuffix(line.String(), "\n")
}

// servers are the processes of broker and store. A sidecar needs no mail server to start.
func (s *Stack) servers() []*process.Process {
	_, _, servers := s.byKind()
	return slices.DeleteFunc(servers, func(p *process.Process) bool { return p.Name() == MailProcess })
}

func (s *Stack) programSpec(a *app, name string, told Link) process.Spec {
	path := ""
	if s.options.Program != nil {
		path = s.options.Program(a.ID)
	}
	if path == "" {
		path = filepath.Join(s.options.Bin, a.ID)
	}
	return process.Spec{
		Name:  name,
		URL:   fmt.Sprintf("http://127.0.0.1:%d", a.Port),
		Path:  path,
		Env:   s.programEnv(a, name, told),
		Dir:   a.Dir,
		Ready: probe(fmt.Sprintf("http://127.0.0.1:%d/readyz", a.Port), http.StatusOK),
		// The program drains: it first finishes the requests that it has accepted.
		StopTimeout: 15 * time.Second,
	}
}

// programEnv is a program's environment: the variables that the Dapr CLI would set, those of the run file, and the
// launcher's.
func (s *Stack) programEnv(a *app, name string, told Link) []string {
	env := append(s.baseEnv(), runtimeEnv(a.ID)...)
	for _, variable := range os.Environ() {
		if strings.HasPrefix(variable, "CARAVAN_") {
			env = append(env, variable)
		}
	}
	layers := []map[string]string{s.plan.Common.Env, a.Env, {
		"APP_ID":            a.ID,
		"APP_PORT":          strconv.Itoa(a.Port),
		"APP_PROTOCOL":      cmp.Or(a.Protocol, s.plan.Common.AppProtocol),
		"DAPR_HTTP_PORT":    strconv.Itoa(told.HTTPPort),
		"DAPR_GRPC_PORT":    strconv.Itoa(told.GRPCPort),
		"DAPR_METRICS_PORT": strconv.Itoa(a.MetricsPort),
		"DAPR_API_TOKEN":    s.tokens.api,
		"APP_API_TOKEN":     s.tokens.app,
	}, s.ownEnv(a), s.options.Env[a.ID]}
	for _, layer := range layers {
		for _, key := range slices.Sorted(maps.Keys(layer)) {
			env = append(env, key+"="+layer[key])
		}
	}
	return append(env, s.telemetryEnv(name)...)
}

// ownEnv has the variables of an app that only this launcher knows.
func (s *Stack) ownEnv(a *app) map[string]string {
	switch a.ID {
	case "notifications":
		env := map[string]string{"CARAVAN_PUSH_PRIVATE_KEY": s.pushKey, "CARAVAN_PUSH_CONTACT": "mailto:" + s.admin.Email}
		if s.mail.Set != "" {
			env["CARAVAN_EMAIL_ENABLED"], env["CARAVAN_EMAIL_BASE_URL"] = "true", s.GatewayURL()
			env["CARAVAN_EMAIL_UNSUBSCRIBE_KEY"] = s.unsubscribeKey
		}
		return env
	case "users":
		return map[string]string{
			"CARAVAN_KEYS_DIR":           filepath.Join(s.dir, "secrets", "keys"),
			"CARAVAN_BOOTSTRAP_EMAIL":    s.admin.Email,
			"CARAVAN_BOOTSTRAP_PASSWORD": s.admin.Password,
		}
	}
	return nil
}

// baseEnv is the part of the user's environment that every process gets. It is not the whole environment, so that other
// DAPR_ or OTEL_ variables change nothing.
func (s *Stack) baseEnv() []string {
	var env []string
	for _, key := range []string{"PATH", "HOME", "USER", "LANG", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if value := os.Getenv(key); value != "" {
			env = append(env, key+"="+value)
		}
	}
	return env
}

// runtimeEnv sets Go's runtime for a program, or for a sidecar. The variables of the user come first.
//
// A stack has six times as many processes as a small machine has processors. A process with half of them wakes fewer threads for the same
// work, and one whose heap may grow to five times of what is in use collects garbage less often (docs/benchmarks.md). users keeps all
// processors: it hashes passwords.
func runtimeEnv(app string) []string {
	env := []string{"GOGC=" + cmp.Or(os.Getenv("GOGC"), "400"), "GOMEMLIMIT=" + cmp.Or(os.Getenv("GOMEMLIMIT"), "200MiB")}
	if processors := os.Getenv("GOMAXPROCS"); processors != "" {
		return append(env, "GOMAXPROCS="+processors)
	}
	if app == "users" {
		return env
	}
	return append(env, "GOMAXPROCS="+strconv.Itoa(max(1, runtime.NumCPU()/2)))
}

func (s *Stack) telemetryEnv(service string) []string {
	endpoint := cmp.Or(s.options.OTLPEndpoint, s.observed.spans)
	if endpoint == "" {
		return nil
	}
	// Spans are sent within a second instead of five, because somebody is watching. The queue holds what a program makes while the
	// collector is started again.
	return []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint,
		"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"OTEL_EXPORTER_OTLP_INSECURE=true",
		// Sidecar and program have different names.
		"OTEL_SERVICE_NAME=" + service,
		"OTEL_BSP_SCHEDULE_DELAY=" + cmp.Or(s.observed.delay(s.options.OTLPEndpoint), "300"),
		"OTEL_BSP_MAX_QUEUE_SIZE=8192",
	}
}

// probe requests a URL and expects a status.
func probe(url string, want int) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("probing: %w", err)
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != want {
			return errors.New(url + " answers " + response.Status)
		}
		return nil
	}
}
