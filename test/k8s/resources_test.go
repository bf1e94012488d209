package k8s

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"caravan/dapr/launcher/manifest"
	"caravan/test/repository"
)

// resolution is the address at which a sidecar finds that of another app.
const resolution = "dns {{.ID}}-dapr:50002"

// kinds are the components for a cluster's broker and store.
var kinds = map[string]string{"rabbitmq": "pubsub.rabbitmq", "kafka": "pubsub.kafka", "postgres": "state.postgresql", "redis": "state.redis"}

// daprResources checks that the Dapr resources of each app are those of the repository.
func (r *review) daprResources() {
	for _, w := range r.workloads() {
		if !w.program {
			continue
		}
		documents := r.resources
		if daprd := w.container("daprd"); daprd != nil {
			documents = r.mounted(w, daprd)
		}
		r.configuration(w, documents)
		r.compare(w, slices.DeleteFunc(slices.Clone(documents), func(d manifest.Document) bool { return d.Configuration != nil || !d.For(w.name) }))
	}
}

// mounted returns the resources that a sidecar reads from its ConfigMaps.
func (r *review) mounted(w workload, daprd *corev1.Container) []manifest.Document {
	given := flags(daprd)
	var documents []manifest.Document
	for _, path := range append(given["--resources-path"], filepath.Dir(strings.Join(given["--config"], ""))) {
		files, err := r.filesAt(w, daprd, path)
		if err != nil {
			r.report("%s: %v", w.name, err)
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(files)) {
			read, err := manifest.Decode(name, []byte(files[name]))
			if err != nil {
				r.report("%s: %s: %v", w.name, name, err)
			}
			documents = append(documents, read...)
		}
	}
	return documents
}

func (r *review) filesAt(w workload, daprd *corev1.Container, path string) (map[string]string, error) {
	for _, mount := range daprd.VolumeMounts {
		if mount.MountPath != path {
			continue
		}
		for _, volume := range w.Spec.Volumes {
			if volume.Name != mount.Name || volume.ConfigMap == nil {
				continue
			}
			for _, m := range r.configMaps {
				if m.Name == volume.ConfigMap.Name {
					return m.Data, nil
				}
			}
		}
	}
	return nil, fmt.Errorf("its sidecar has nothing at %q", path)
}

// compare checks that resources are complete and equal to those of components/ and dapr/resources.
func (r *review) compare(w workload, documents []manifest.Document) {
	elsewhere, err := r.root.Resources(w.name)
	if err != nil {
		r.report("%s: %v", w.name, err)
		return
	}
	got := map[string]bool{}
	for _, d := range documents {
		key := d.Kind + " " + d.Metadata.Name
		if got[key] {
			r.report("%s: it has %s twice", w.name, key)
		}
		got[key] = true
		if d.Component != nil && d.Component.Spec.Type == "secretstores.local.env" && d.Metadata.Name == "kubernetes" {
			continue // the source for a secretKeyRef, which exists only here
		}
		if !slices.ContainsFunc(elsewhere, func(other manifest.Document) bool { return repository.Same(d, other) }) {
			r.report("%s: %s %s is not as in components/ or dapr/", w.name, d.Kind, d.Metadata.Name)
		}
		if d.Component != nil {
			r.whereabouts(w, d.Component)
		}
	}
	for _, d := range elsewhere {
		if key := d.Kind + " " + d.Metadata.Name; !got[key] {
			r.report("%s: it lacks the %s", w.name, key)
		}
	}
	for _, violation := range manifest.Check(documents, slices.Sorted(maps.Keys(r.apps))) {
		if strings.Contains(violation.At, w.name) { // the sidecars of some apps do not have what only others need
			r.report("%s: %s", w.name, violation)
		}
	}
}

// whereabouts checks that a component is the chosen one, and gets its server's address only from Secrets.
func (r *review) whereabouts(w workload, c *manifest.Component) {
	if c.Spec.Type != kinds[r.broker] && c.Spec.Type != kinds[r.store] && c.Spec.Type != "bindings.smtp" {
		r.report("%s: its component %s is %s", w.name, c.Metadata.Name, c.Spec.Type)
	}
	if c.Auth == nil || c.Auth.SecretStore != "kubernetes" {
		r.report("%s: its component %s asks no secret store", w.name, c.Metadata.Name)
	}
	for _, item := range c.Spec.Metadata {
		placed := slices.Contains(repository.Whereabouts, item.Name)
		switch reference := item.SecretKeyRef; {
		case !placed && reference == nil:
		case !placed || reference == nil || item.Value != "" || item.EnvRef != "" || reference.Name != reference.Key:
			r.report("%s: %s of its component %s is not from a Secret", w.name, item.Name, c.Metadata.Name)
		default:
			daprd := w.container("daprd")
			if want := "secret " + reference.Name + " " + reference.Key; daprd != nil && environment(daprd)[reference.Name] != want {
				r.report("%s: its sidecar has no variable %s from the Secret", w.name, reference.Name)
			}
		}
	}
}

// configuration checks that the sidecar's configuration equals dapr/config.yaml except for the name resolution and the
// accepted callers.
func (r *review) configuration(w workload, documents []manifest.Document) {
	want, err := repository.Configuration(filepath.Join(string(r.root), "dapr", "config.yaml"))
	if err != nil {
		r.report("%v", err)
		return
	}
	documents = slices.DeleteFunc(slices.Clone(documents), func(d manifest.Document) bool {
		return d.Configuration == nil || r.overlay == "dapr" && d.Metadata.Name != w.Annotations["dapr.io/config"]
	})
	if len(documents) != 1 {
		r.report("%s: it has %d Configurations", w.name, len(documents))
		return
	}
	got := documents[0].Configuration
	found := ""
	if got.Spec.NameResolution != nil {
		found = got.Spec.NameResolution.Component + " " + got.Spec.NameResolution.Configuration["template"]
	}
	if found != resolution {
		r.report("%s: its name resolution is %q, not %q", w.name, found, resolution)
	}
	if r.overlay == "dapr" {
		r.allowed(w, got)
	}
	compared := *got
	compared.Header, compared.Spec.AccessControl, compared.Spec.NameResolution = want.Header, nil, nil
	want.Spec.NameResolution = nil
	if !reflect.DeepEqual(compared, want) {
		r.report("%s: its configuration differs from dapr/config.yaml", w.name)
	}
}

// allowed checks that a sidecar accepts calls only of its callers, identified by their certificates.
func (r *review) allowed(w workload, c *manifest.Configuration) {
	callers, err := callersInCode()
	if err != nil {
		r.report("%v", err)
		return
	}
	mailers, err := mailersPaths()
	if err != nil {
		r.report("%v", err)
		return
	}
	var got []string
	rules := c.Spec.AccessControl
	if rules == nil || rules.DefaultAction != "deny" {
		r.report("%s: its sidecar takes all calls", w.name)
		return
	}
	for _, p := range rules.Policies {
		var denied []string
		for _, o := range p.Operations {
			if o.Action == "deny" && slices.Equal(o.HTTPVerb, []string{"*"}) {
				denied = append(denied, o.Name)
			}
		}
		for _, path := range mailers {
			if w.name == "users" && p.AppID != "notifications" && !slices.Contains(denied, path) {
				r.report("users: %s may call %s", p.AppID, path)
			}
		}
		if p.DefaultAction == "allow" && p.Namespace == ourNamespace && p.TrustDomain == rules.TrustDomain {
			got = append(got, p.AppID)
		}
	}
	want := slices.Sorted(slices.Values(callers[w.name]))
	if slices.Sort(got); !slices.Equal(got, want) || len(got) != len(rules.Policies) {
		r.report("%s: its sidecar takes calls of %v, not of %v", w.name, got, want)
	}
}

// onlyMailer finds the constants of the paths that users serves to notifications only, and pathConstant those of all paths.
var (
	onlyMailer   = regexp.MustCompile(`contract\.(Path\w+), service\.OnlyFrom\(contract\.AppMailer,`)
	pathConstant = regexp.MustCompile(`(?m)^const (Path\w+) = "([^"]+)"$`)
)

// mailersPaths are the paths of users that only notifications may call, as the code registers them.
var mailersPaths = sync.OnceValues(func() ([]string, error) {
	folder := filepath.Join(root, "services", "users")
	routes, err := os.ReadFile(filepath.Join(folder, "adapters", "http.go"))
	if err != nil {
		return nil, fmt.Errorf("reading the routes of users: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "contract", "*.go"))
	if err != nil {
		return nil, fmt.Errorf("listing the contract of users: %w", err)
	}
	values := map[string]string{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the contract of users: %w", err)
		}
		for _, constant := range pathConstant.FindAllStringSubmatch(string(content), -1) {
			values[constant[1]] = constant[2]
		}
	}
	var paths []string
	for _, route := range onlyMailer.FindAllStringSubmatch(string(routes), -1) {
		if values[route[1]] == "" {
			return nil, fmt.Errorf("the contract of users has no constant %s", route[1])
		}
		paths = append(paths, values[route[1]])
	}
	if len(paths) == 0 {
		return nil, errors.New("users has no route for notifications only")
	}
	return paths, nil
})

// daprModule is the folder with the source of Dapr, in the version from which the sidecar is built.
var daprModule = sync.OnceValues(func() (string, error) {
	command := exec.Command("go", "mod", "download", "-json", "github.com/dapr/dapr")
	command.Dir = filepath.Join(root, "dapr", "daprd")
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("downloading the module of Dapr: %w: %s", err, output)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(output, &module); err != nil {
		return "", fmt.Errorf("reading where the module of Dapr is: %w", err)
	}
	return module.Dir, nil
})

// named returns the names in a file of Dapr's source that match a pattern with one group.
func named(pattern string, path ...string) []string {
	folder, err := daprModule()
	if err != nil {
		return nil
	}
	content, err := os.ReadFile(filepath.Join(append([]string{folder}, path...)...))
	if err != nil {
		return nil
	}
	var names []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(content), -1) {
		names = append(names, match[1])
	}
	return names
}

// daprAnnotations are the annotations that the injector knows. It ignores all others.
var daprAnnotations = sync.OnceValue(func() []string {
	return named(`"(dapr\.io/[a-z0-9-]+)"`, "pkg", "injector", "annotations", "annotations.go")
})

// daprOptions are the options that daprd knows.
var daprOptions = sync.OnceValue(func() []string {
	options := named(`fs\.[A-Za-z0-9]+\([^"\n]*"([a-z0-9-]+)"`, "cmd", "daprd", "options", "options.go")
	return append(options, "log-level", "log-as-json", "metrics-port") // from Dapr's packages for logs and metrics
})
