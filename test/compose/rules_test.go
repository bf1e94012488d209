package compose

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"caravan/dapr/launcher/manifest"
	"caravan/test/repository"

	"github.com/compose-spec/compose-go/v2/types"
)

const (
	backbone = "backbone" // the network of sidecars, broker and store
	edge     = "edge"     // that of the published port, with access to the outside
	// drain is the maximum time for the stop of a program (internal/service: requests, workers, events, telemetry).
	drain = 29 * time.Second
)

// outside are the networks of push.yaml and push-replicas.yaml, with access to the outside, each for one replica of notifications.
var outside = []string{"push", "push-2"}

// The store for log lines, its collector, and the network of the published port of the store.
const (
	logStore  = "logstore"
	collector = "collector"
	logsPage  = "logs-page"
)

// pair is a program and its sidecar.
type pair struct {
	app              repository.App
	program, sidecar types.ServiceConfig
}

// review collects the faults of a project.
type review struct {
	root    repository.Root
	project *types.Project
	apps    map[string]repository.App
	pairs   []pair
	found   []string
}

func (r *review) report(format string, args ...any) {
	r.found = append(r.found, fmt.Sprintf(format, args...))
}

// violations returns the faults of a project.
func violations(root repository.Root, project *types.Project) []string {
	apps, _, err := root.RunFile()
	if err != nil {
		return []string{err.Error()}
	}
	r := &review{root: root, project: project, apps: apps}
	r.findPairs()
	for _, p := range r.pairs {
		r.ports(p)
		r.network(p)
		r.resources(p)
		r.spans(p)
	}
	r.tokens()
	r.pushSettings()
	r.observed()
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		r.container(project.Services[name])
	}
	for _, name := range slices.Sorted(maps.Keys(project.Networks)) {
		if !project.Networks[name].Internal && name != edge && name != logsPage && !slices.Contains(outside, name) {
			r.report("network %s is not internal", name)
		}
	}
	return r.found
}

func isSidecar(service types.ServiceConfig) bool {
	return strings.HasPrefix(service.Image, "caravan/daprd:")
}

func (r *review) findPairs() {
	missing := maps.Clone(r.apps)
	for _, name := range slices.Sorted(maps.Keys(r.project.Services)) {
		sidecar := r.project.Services[name]
		if !isSidecar(sidecar) {
			continue
		}
		flags := flagsOf(sidecar)
		known, ok := r.apps[flags["--app-id"]]
		if !ok {
			r.report("%s: dapr.yaml has no app %q", name, flags["--app-id"])
			continue
		}
		program, ok := r.project.Services[flags["--app-channel-address"]]
		if !ok || !strings.HasPrefix(program.Image, "caravan/"+known.ID+":") {
			r.report("%s: its app %s is not %s", name, flags["--app-channel-address"], known.ID)
			continue
		}
		delete(missing, known.ID)
		r.pairs = append(r.pairs, pair{known, program, sidecar})
	}
	for id := range missing {
		r.report("app %s of dapr.yaml has no pair", id)
	}
}

// ports checks that the ports of a pair are those of dapr.yaml.
func (r *review) ports(p pair) {
	environment, flags := environmentOf(p.program), flagsOf(p.sidecar)
	for what, values := range map[string][2]string{
		"APP_PORT":                   {environment["APP_PORT"], number(p.app.Port)},
		"DAPR_HTTP_PORT":             {environment["DAPR_HTTP_PORT"], number(p.app.HTTPPort)},
		"DAPR_GRPC_PORT":             {environment["DAPR_GRPC_PORT"], number(p.app.GRPCPort)},
		"CARAVAN_DAPR_HOST":          {environment["CARAVAN_DAPR_HOST"], p.sidecar.Name},
		"--app-port":                 {flags["--app-port"], number(p.app.Port)},
		"--dapr-http-port":           {flags["--dapr-http-port"], number(p.app.HTTPPort)},
		"--dapr-grpc-port":           {flags["--dapr-grpc-port"], number(p.app.GRPCPort)},
		"--metrics-port":             {flags["--metrics-port"], number(p.app.Metrics)},
		"--dapr-internal-grpc-port":  {flags["--dapr-internal-grpc-port"], "50002"}, // the name resolution contains it
		"the health check's port":    {strings.Join(healthcheckOf(p.sidecar), " "), "CMD /daprd --wait --dapr-http-port=" + number(p.app.HTTPPort)},
		"the program's health check": {strings.Join(healthcheckOf(p.program), " "), "CMD /" + p.app.ID + " --probe readyz"},
	} {
		if values[0] != values[1] {
			r.report("%s: %s is %q, not %q", p.program.Name, what, values[0], values[1])
		}
	}
	if mail, runs := r.project.Services["mail"]; runs && (len(mail.Ports) != 1 || mail.Ports[0].HostIP != "127.0.0.1" || mail.Ports[0].Target != 8025) {
		r.report("mail: it publishes %v, not its page alone on 127.0.0.1", mail.Ports)
	}
	switch published := p.program.Ports; {
	case p.app.ID != "gateway" && len(published) > 0:
		r.report("%s: only the gateway publishes a port", p.program.Name)
	case p.app.ID == "gateway" && (len(published) != 1 || published[0].HostIP != "127.0.0.1" || published[0].Target != uint32(p.app.Port)):
		r.report("gateway: it publishes %v, not its port alone on 127.0.0.1", published)
	}
}

func healthcheckOf(service types.ServiceConfig) []string {
	if service.HealthCheck == nil || service.HealthCheck.Disable {
		return nil
	}
	return service.HealthCheck.Test
}

// network checks that a pair has its own network.
func (r *review) network(p pair) {
	own := networksOf(p.program)
	if p.app.ID == "gateway" {
		delete(own, edge)
	}
	for _, name := range outside {
		if p.app.ID == "notifications" && r.alone(name) {
			delete(own, name)
		}
	}
	if len(own) != 1 {
		r.report("%s: it is on the networks %v, not on its pair's alone", p.program.Name, slices.Sorted(maps.Keys(networksOf(p.program))))
		return
	}
	for name := range own {
		var members []string
		for _, service := range r.project.Services {
			if networksOf(service)[name] {
				members = append(members, service.Name)
			}
		}
		slices.Sort(members)
		want := []string{p.program.Name, p.sidecar.Name}
		if r.observes() {
			want = slices.Sorted(slices.Values(append(want, collector)))
		}
		if !slices.Equal(members, want) {
			r.report("network %s has %v, not %v", name, members, want)
		}
		networks := map[string]bool{name: true, backbone: true}
		if _, runs := r.project.Services["mail"]; !runs && p.app.ID == "notifications" {
			networks[edge] = true // the mail server is outside
		}
		if !maps.Equal(networksOf(p.sidecar), networks) {
			r.report("%s: it is on the networks %v", p.sidecar.Name, slices.Sorted(maps.Keys(networksOf(p.sidecar))))
		}
	}
	known := []string{p.sidecar.Name}
	if settings := p.sidecar.Networks[backbone]; settings != nil {
		known = append(known, settings.Aliases...)
	}
	if !slices.Contains(known, p.app.ID+"-daprd") {
		r.report("%s: the name resolution does not find it: it has no alias %s-daprd", p.sidecar.Name, p.app.ID)
	}
}

// alone reports whether a network has at most one member.
func (r *review) alone(network string) bool {
	members := 0
	for _, service := range r.project.Services {
		if networksOf(service)[network] {
			members++
		}
	}
	return members <= 1
}

// tokens checks that a pair shares its two tokens and that no other container has them.
func (r *review) tokens() {
	owner := map[string]string{}
	for _, p := range r.pairs {
		program, sidecar := environmentOf(p.program), environmentOf(p.sidecar)
		for _, name := range []string{"DAPR_API_TOKEN", "APP_API_TOKEN"} {
			token := program[name]
			switch {
			case token == "" || token != sidecar[name]:
				r.report("%s: its %s is not its sidecar's", p.program.Name, name)
			case owner[token] != "":
				r.report("%s: its %s is also a token of %s", p.program.Name, name, owner[token])
			}
			owner[token] = p.program.Name
		}
	}
}

// pushSettings checks that all replicas of notifications have the same settings of push messages: subscriptions belong to the key.
func (r *review) pushSettings() {
	for _, name := range []string{"CARAVAN_PUSH_PRIVATE_KEY", "CARAVAN_PUSH_CONTACT"} {
		values := map[string]bool{}
		for _, p := range r.pairs {
			if p.app.ID == "notifications" {
				values[environmentOf(p.program)[name]] = true
			}
		}
		if len(values) > 1 {
			r.report("notifications: its replicas have different %s", name)
		}
	}
}

// container checks the rules for every container.
func (r *review) container(s types.ServiceConfig) {
	once := s.Restart == "no" // a job that ends
	needs := map[string]bool{
		"no health check": once || len(healthcheckOf(s)) > 0,
		"an image of ours that may come from a registry": !strings.HasPrefix(s.Image, "caravan/") || s.PullPolicy == types.PullPolicyNever && s.Build != nil,
		"no memory limit":                        s.MemLimit > 0,
		"no bound on its log":                    s.Logging != nil && s.Logging.Options["max-size"] != "" && s.Logging.Options["max-file"] != "",
		"capabilities":                           slices.Equal(s.CapDrop, []string{"ALL"}) && len(s.CapAdd) == 0 && !s.Privileged,
		"a way to new privileges":                slices.Contains(s.SecurityOpt, "no-new-privileges:true"),
		"a root that it can write to":            s.ReadOnly || strings.HasPrefix(s.Image, "apache/kafka:"),
		"no restart policy":                      once || s.Restart == "always", // after a crash of Docker itself "unless-stopped" is not enough
		"published a port":                       len(s.Ports) == 0 || !isSidecar(s) && strings.HasPrefix(s.Image, "caravan/"),
		"the host's network or processes":        s.NetworkMode == "" && s.Pid == "" && s.Ipc == "",
		"the root user":                          s.User != "" && s.User != "root" && !strings.HasPrefix(s.User, "0") || strings.HasPrefix(s.Image, "apache/kafka:") || s.Name == collector,
		"no name in its log":                     s.Logging != nil && s.Logging.Driver == "json-file" && s.Logging.Options["tag"] == logTag,
		"an image without a tag, or with latest": strings.Contains(s.Image, ":") && !strings.HasSuffix(s.Image, ":latest"),
		"a shorter grace than its end may take":  !strings.Contains(strings.Join(healthcheckOf(s), " "), "--probe readyz") || s.StopGracePeriod != nil && time.Duration(*s.StopGracePeriod) > drain,
	}
	for _, what := range slices.Sorted(maps.Keys(needs)) {
		if !needs[what] {
			r.report("%s: it has %s", s.Name, what)
		}
	}
	for name, dependency := range s.DependsOn {
		other := r.project.Services[name]
		ordered := dependency.Condition == types.ServiceConditionHealthy || dependency.Condition == types.ServiceConditionStarted && (isSidecar(other) || name == collector || name == logStore)
		if !ordered {
			r.report("%s: it does not wait until %s is healthy", s.Name, name)
		}
	}
}

// resources checks that a sidecar has the same files as in the repository.
func (r *review) resources(p pair) {
	var documents []manifest.Document
	for _, mounted := range p.sidecar.Configs {
		file := r.project.Configs[mounted.Source].File
		read, err := manifest.Read(file)
		if err != nil {
			r.report("%s: %v", p.sidecar.Name, err)
			continue
		}
		switch {
		case strings.HasPrefix(mounted.Target, flagsOf(p.sidecar)["--resources-path"]+"/"):
			documents = append(documents, read...)
		case mounted.Target == flagsOf(p.sidecar)["--config"]:
			r.configuration(p, read)
		default:
			r.report("%s: it reads nothing from %s", p.sidecar.Name, mounted.Target)
		}
	}
	elsewhere, err := r.root.Resources(p.app.ID)
	if err != nil {
		r.report("%s: %v", p.sidecar.Name, err)
		return
	}
	got := map[string]bool{}
	brokers := map[string]bool{}
	for _, d := range documents {
		if !d.For(p.app.ID) {
			if d.Subscription != nil {
				continue // the file has those of all consumers, and each sidecar uses only its own
			}
			r.report("%s: %s is not for it", p.sidecar.Name, d.At())
			continue
		}
		key := d.Kind + " " + d.Metadata.Name
		if got[key] {
			r.report("%s: it has %s twice", p.sidecar.Name, key)
		}
		got[key] = true
		if !slices.ContainsFunc(elsewhere, func(other manifest.Document) bool { return repository.Same(d, other) }) {
			r.report("%s: %s is not as in components/ or dapr/", p.sidecar.Name, d.At())
		}
		if d.Component != nil {
			r.dependency(p, d.Component)
			if strings.HasPrefix(d.Component.Spec.Type, "pubsub.") {
				brokers[d.Component.Spec.Type] = true
			}
		}
	}
	if len(brokers) > 1 {
		r.report("%s: its components are for the brokers %v", p.sidecar.Name, slices.Sorted(maps.Keys(brokers)))
	}
	for _, d := range elsewhere {
		if key := d.Kind + " " + d.Metadata.Name; !got[key] {
			r.report("%s: it lacks the %s", p.sidecar.Name, key)
		}
	}
	for _, violation := range manifest.Check(documents, slices.Sorted(maps.Keys(r.apps))) {
		// The sidecars of some apps do not have what only others need.
		if strings.Contains(violation.At, p.app.ID) {
			r.report("%s: %s", p.sidecar.Name, violation)
		}
	}
}

// dependency checks that a sidecar waits for the server of its component.
func (r *review) dependency(p pair, component *manifest.Component) {
	server := map[string]string{"pubsub": "broker", "live": "broker", "store": "store"}[component.Metadata.Name]
	if _, runs := r.project.Services[server]; !runs {
		return
	}
	if _, waits := p.sidecar.DependsOn[server]; !waits {
		r.report("%s: it does not wait for the %s", p.sidecar.Name, server)
	}
}

// configuration checks that the sidecar's configuration equals dapr/config.yaml except for the name resolution.
func (r *review) configuration(p pair, got []manifest.Document) {
	w, err := repository.Configuration(filepath.Join(string(r.root), "dapr", "config.yaml"))
	if err != nil || len(got) != 1 || got[0].Configuration == nil {
		r.report("%s: its configuration is not one document (%v)", p.sidecar.Name, err)
		return
	}
	g := *got[0].Configuration
	if g.Spec.NameResolution == nil || g.Spec.NameResolution.Component != "dns" || fmt.Sprint(g.Spec.NameResolution.Configuration["template"]) != "{{.ID}}-daprd:50002" {
		r.report("%s: its name resolution is %+v", p.sidecar.Name, g.Spec.NameResolution)
	}
	g.Spec.NameResolution, w.Spec.NameResolution = nil, nil
	if !reflect.DeepEqual(g, w) {
		r.report("%s: its configuration differs from dapr/config.yaml", p.sidecar.Name)
	}
}
