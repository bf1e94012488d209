package k8s

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	podsecurity "k8s.io/pod-security-admission/api"

	"caravan/test/repository"
)

const observeNamespace = "caravan-observe"

// spans checks that a program and its sidecar send their spans to the collectors, if there are any.
func (r *review) spans(w workload) {
	settings := map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.caravan-observe:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_INSECURE": "true",
		"OTEL_BSP_SCHEDULE_DELAY": "1000", "OTEL_BSP_MAX_QUEUE_SIZE": "8192",
	}
	compare := func(what string, got map[string]string, name string) {
		for key, value := range settings {
			want := value
			if !r.observe {
				want = ""
			}
			if got[key] != want {
				r.report("%s: its %s sends spans to %q with %s=%q", w.name, what, got["OTEL_EXPORTER_OTLP_ENDPOINT"], key, got[key])
			}
		}
		if r.observe && got["OTEL_SERVICE_NAME"] != name {
			r.report("%s: its %s sends spans to the collectors as %q", w.name, what, got["OTEL_SERVICE_NAME"])
		}
	}
	compare("program", podEnvironment(w.container("program")), "pod")
	if r.overlay == "plain" {
		if daprd := w.container("daprd"); daprd != nil {
			compare("sidecar", podEnvironment(daprd), "$(POD_NAME)-daprd")
		}
		return
	}
	injected := map[string]string{}
	for _, variable := range strings.Split(w.Annotations["dapr.io/env"], ",") {
		name, value, _ := strings.Cut(variable, "=")
		injected[name] = value
	}
	compare("sidecar", injected, w.name+"-daprd")
}

// podEnvironment returns the variables of a container; the name of its pod is "pod".
func podEnvironment(container *corev1.Container) map[string]string {
	values := environment(container)
	for _, variable := range container.Env {
		if from := variable.ValueFrom; from != nil && from.FieldRef != nil && from.FieldRef.FieldPath == "metadata.name" {
			values[variable.Name] = "pod"
		}
	}
	return values
}

// observeCluster builds the namespace of the log store.
func observeCluster(r repository.Root) (*cluster, error) {
	return buildFolder(&cluster{home: observeNamespace}, filepath.Join(string(r), "k8s", "observe"))
}

// staticFlag finds the flags of the log store in the source of the launcher.
var staticFlag = regexp.MustCompile(`(?m)^\t+"(-[A-Za-z.]+(?:=[^"]+[^="])?)",$`)

// observeViolations returns the faults of the namespace of the log store.
func observeViolations(root repository.Root, c *cluster) []string {
	r := &review{cluster: c, root: root}
	if len(c.namespaces) != 1 || c.namespaces[0].Name != observeNamespace || c.namespaces[0].Labels[podsecurity.EnforceLevelLabel] != string(podsecurity.LevelPrivileged) {
		r.report("no namespace %s in which a pod may read a folder of its node", observeNamespace)
	}
	for _, w := range c.workloads() {
		r.nodeFolders(&w)
		r.pod(w)
		for i := range w.Spec.Containers {
			r.container(w, &w.Spec.Containers[i])
		}
	}
	if len(c.daemonSets) != 1 || len(c.statefulSets) != 1 || len(c.statefulSets[0].Spec.VolumeClaimTemplates) != 1 {
		r.report("there are %d collectors and %d log stores, or the store has no volume", len(c.daemonSets), len(c.statefulSets))
		return r.found
	}
	r.storeFlags(c.statefulSets[0].Spec.Template.Spec.Containers[0])
	r.observeNetwork()
	return r.found
}

// nodeFolders checks that only the collector reads a folder of its node, and leaves that out of the pod, so that all else can be
// checked as for other pods.
func (r *review) nodeFolders(w *workload) {
	var others []corev1.Volume
	for _, volume := range w.Spec.Volumes {
		if volume.EmptyDir != nil && volume.EmptyDir.SizeLimit == nil {
			r.report("%s: its volume %s has no bound", w.name, volume.Name)
		}
		if volume.HostPath == nil {
			others = append(others, volume)
			continue
		}
		mounts := w.Spec.Containers[0].VolumeMounts
		i := slices.IndexFunc(mounts, func(m corev1.VolumeMount) bool { return m.Name == volume.Name })
		if w.name != "collector" || volume.HostPath.Path != "/var/log/pods" || i < 0 || !mounts[i].ReadOnly {
			r.report("%s: it has the folder %s of its node, or may write to it", w.name, volume.HostPath.Path)
		}
	}
	w.Spec.Volumes = others
}

// storeFlags checks that the store is started as by the launcher.
func (r *review) storeFlags(store corev1.Container) {
	source, err := os.ReadFile(filepath.Join(string(r.root), "dapr", "launcher", "observe.go"))
	found := staticFlag.FindAllStringSubmatch(string(source), -1)
	if err != nil || len(found) < 10 {
		r.report("the launcher has %d flags of the log store (%v)", len(found), err)
	}
	for _, flag := range found {
		if !slices.Contains(store.Args, flag[1]) {
			r.report("logstore: it lacks %s", flag[1])
		}
	}
}

// observeNetwork checks that collectors reach the store, programs the collectors, and nobody anything else.
func (r *review) observeNetwork() {
	ours, others := r.endpoints()
	orders := endpoint{name: "a program", namespace: ourNamespace, labels: map[string]string{"app.kubernetes.io/name": "orders", "app.kubernetes.io/part-of": "caravan"}}
	server := endpoint{name: "a server", namespace: ourNamespace, labels: map[string]string{"app.kubernetes.io/name": "broker"}}
	outside := []endpoint{{name: "a server outside", address: "203.0.113.9"}, {name: "a neighbour", address: "192.168.1.2"}, orders}
	for _, port := range []int32{53, 80, 443, 4318, 9428} {
		for _, to := range ours {
			for _, from := range slices.Concat(ours, others, []endpoint{orders, server}) {
				want := from.name == "collector" && to.name == "logstore" && port == 9428 || from.name == orders.name && to.name == "collector" && port == 4318
				if got := r.enters(from, to, port) && r.leaves(from, to, port); got != want {
					r.report("%s reaches %s on port %d: %t, not %t", from.name, to.name, port, got, want)
				}
			}
		}
		for _, from := range ours {
			for _, to := range outside {
				if r.leaves(from, to, port) {
					r.report("%s reaches %s on port %d", from.name, to.name, port)
				}
			}
		}
	}
}

func TestTheLogStoreAndItsCollectors(t *testing.T) {
	c, err := observeCluster(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, violation := range append(validate(t, c.text), observeViolations(root, c)...) {
		t.Error(violation)
	}
}

func TestPlantedFaultsOfTheLogStoreAreFound(t *testing.T) {
	for name, fault := range map[string]struct{ file, old, new, want string }{
		"a misspelt key":               {"collector.yaml", "startupProbe", "startProbe", "startProbe"},
		"the root user":                {"collector.yaml", "runAsUser: 65532", "runAsUser: 0", "collector: restricted pod security refuses it"},
		"capabilities":                 {"collector.yaml", "            capabilities: {drop: [ALL]}\n", "", "collector: restricted pod security refuses it"},
		"a token of the API server":    {"collector.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "a token of its service account"},
		"a folder that can be written": {"collector.yaml", "mountPath: /pods, readOnly: true", "mountPath: /pods", "may write to it"},
		"another folder":               {"collector.yaml", "path: /var/log/pods", "path: /var/log", "it has the folder /var/log of its node"},
		"positions without bound":      {"collector.yaml", "emptyDir: {sizeLimit: 256Mi}", "emptyDir: {}", "its volume data has no bound"},
		"no limit of memory":           {"collector.yaml", "            limits: {memory: 256Mi}\n", "", "no limit of memory"},
		"a store without bound":        {"logstore.yaml", "            - -retention.maxDiskSpaceUsageBytes=1GiB\n", "", "logstore: it lacks -retention.maxDiskSpaceUsageBytes=1GiB"},
		"a store with a node's folder": {"logstore.yaml", "      containers:\n", "      volumes: [{name: x, hostPath: {path: /var/log/pods}}]\n      containers:\n", "logstore: it has the folder"},
		"no access to the node":        {"namespace.yaml", "enforce: privileged", "enforce: restricted", "no namespace caravan-observe"},
		"the store for programs":       {"network.yaml", "ports: [{port: 4318}]", "ports: [{port: 4318}]\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x}\nspec: {podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {}}]}]}", "a program reaches logstore on port 9428: true"},
		"servers that send spans":      {"network.yaml", "          podSelector:\n            matchLabels: {app.kubernetes.io/part-of: caravan}\n", "", "a server reaches collector on port 4318: true"},
		"no way to the store":          {"network.yaml", "      ports: [{port: 9428}]\n---\napiVersion", "      ports: [{port: 9429}]\n---\napiVersion", "collector reaches logstore on port 9428: false"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			copied := repository.Root(root).Copy(t, "k8s/observe", "dapr/launcher")
			copied.Replace(t, filepath.Join("k8s", "observe", fault.file), fault.old, fault.new)
			c, err := observeCluster(copied)
			found := []string{}
			if err != nil {
				found = append(found, err.Error())
			} else {
				found = append(validate(t, c.text), observeViolations(copied, c)...)
			}
			if !strings.Contains(strings.Join(found, "\n"), fault.want) {
				t.Errorf("it was not found; reported was:\n%s", strings.Join(found, "\n"))
			}
		})
	}
}
