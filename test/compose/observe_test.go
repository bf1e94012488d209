package compose

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// logTag is the log option by which the collector knows the process of a line (dapr/launcher/collector).
const logTag = `{{index .ContainerLabels "com.docker.compose.project"}}/{{index .ContainerLabels "com.docker.compose.service"}}/{{index .ContainerLabels "com.docker.compose.container-number"}}`

// observes reports whether the project has a collector.
func (r *review) observes() bool {
	_, runs := r.project.Services[collector]
	return runs
}

// spans checks that a pair sends its spans to the collector, if there is one, under the names of its log lines.
func (r *review) spans(p pair) {
	for _, service := range []types.ServiceConfig{p.program, p.sidecar} {
		want := map[string]string{
			"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_INSECURE": "true",
			"OTEL_SERVICE_NAME": service.Name, "OTEL_BSP_SCHEDULE_DELAY": "1000", "OTEL_BSP_MAX_QUEUE_SIZE": "8192",
		}
		_, waits := service.DependsOn[collector]
		if !r.observes() {
			want = nil
		}
		got := maps.Clone(environmentOf(service))
		maps.DeleteFunc(got, func(name, _ string) bool { return !strings.HasPrefix(name, "OTEL_") })
		if !maps.Equal(got, want) || waits != r.observes() {
			r.report("%s: its spans go to %v", service.Name, got)
		}
	}
}

// staticFlag finds the flags of the log store in the source of the launcher.
var staticFlag = regexp.MustCompile(`(?m)^\t+"(-[A-Za-z.]+(?:=[^"]+[^="])?)",$`)

// observed checks the log store and its collector.
func (r *review) observed() {
	if !r.observes() {
		return
	}
	store, gatherer := r.project.Services[logStore], r.project.Services[collector]
	if len(store.Ports) != 1 || store.Ports[0].HostIP != "127.0.0.1" || store.Ports[0].Target != 9428 {
		r.report("logstore: it publishes %v, not its page alone on 127.0.0.1", store.Ports)
	}
	source, err := os.ReadFile(filepath.Join(string(r.root), "dapr", "launcher", "observe.go"))
	flags := staticFlag.FindAllStringSubmatch(string(source), -1)
	if err != nil || len(flags) < 10 {
		r.report("the launcher has %d flags of the log store (%v)", len(flags), err)
	}
	for _, flag := range flags {
		if !slices.Contains(store.Command, flag[1]) {
			r.report("logstore: it lacks %s", flag[1])
		}
	}
	for network, members := range map[string][]string{"logs": {collector, logStore}, logsPage: {logStore}} {
		var got []string
		for _, service := range r.project.Services {
			if networksOf(service)[network] {
				got = append(got, service.Name)
			}
		}
		if slices.Sort(got); !slices.Equal(got, members) {
			r.report("network %s has %v, not %v", network, got, members)
		}
	}
	for _, volume := range gatherer.Volumes {
		if volume.Type == types.VolumeTypeBind && !volume.ReadOnly {
			r.report("collector: it may write to %s", volume.Source)
		}
	}
	if len(gatherer.Ports) > 0 {
		r.report("collector: it has published a port")
	}
}
