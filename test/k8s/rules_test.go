package k8s

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"caravan/test/repository"
)

// drain is the maximum time of a stop after its delay (internal/service: requests, workers, events, telemetry).
const drain = 29 * time.Second

// drainTimeout is the part of it for requests.
const drainTimeout = 10 * time.Second

// review collects the faults of a cluster.
type review struct {
	*cluster
	root   repository.Root
	apps   map[string]repository.App
	common repository.Common
	found  []string
}

func (r *review) report(format string, args ...any) {
	r.found = append(r.found, fmt.Sprintf(format, args...))
}

// expect compares values by their names.
func (r *review) expect(where string, got, want map[string]string) {
	for _, what := range slices.Sorted(maps.Keys(want)) {
		if got[what] != want[what] {
			r.report("%s: %s is %q, not %q", where, what, got[what], want[what])
		}
	}
}

// violations returns the faults of a cluster.
func violations(root repository.Root, c *cluster) []string {
	apps, common, err := root.RunFile()
	if err != nil {
		return []string{err.Error()}
	}
	r := &review{cluster: c, root: root, apps: apps, common: common}
	if len(c.namespaces) != 1 || c.namespaces[0].Labels[podsecurity.EnforceLevelLabel] != string(podsecurity.LevelRestricted) {
		r.report("no namespace with restricted pod security")
	}
	r.programs()
	r.tokens()
	for _, w := range c.workloads() {
		r.pod(w)
		for i := range w.Spec.Containers {
			r.container(w, &w.Spec.Containers[i])
		}
	}
	r.replicas()
	r.configurationMaps()
	r.sidecarServices()
	r.network()
	r.pushSettings()
	r.daprResources()
	return r.found
}

// programs checks that the Deployments and their ports are those of dapr/dapr.yaml.
func (r *review) programs() {
	missing := maps.Clone(r.apps)
	for _, w := range r.workloads() {
		if !w.program {
			continue
		}
		app, known := r.apps[w.name]
		if !known {
			r.report("dapr.yaml has no app %q", w.name)
			continue
		}
		delete(missing, w.name)
		program := w.container("program")
		if program == nil || !strings.HasPrefix(program.Image, "caravan/"+w.name+":") {
			r.report("%s: it has no container with its program", w.name)
			continue
		}
		r.expect(w.name, environment(program), map[string]string{"APP_PORT": strconv.Itoa(app.Port), "CARAVAN_APP_HOST": "0.0.0.0"})
		if len(program.Ports) != 1 || program.Ports[0].Name != "http" || int(program.Ports[0].ContainerPort) != app.Port {
			r.report("%s: its container has the ports %v", w.name, program.Ports)
		}
		r.programProbes(w.name, program)
		r.spans(w)
		if r.overlay == "plain" {
			r.sidecar(w, app)
		} else {
			r.annotations(w, app)
		}
	}
	for id := range missing {
		r.report("app %s of dapr.yaml has no Deployment", id)
	}
}

func (r *review) programProbes(name string, program *corev1.Container) {
	for what, probe := range map[string]*corev1.Probe{"startup /livez": program.StartupProbe, "readiness /readyz": program.ReadinessProbe, "liveness /livez": program.LivenessProbe} {
		_, path, _ := strings.Cut(what, " ")
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "http" {
			r.report("%s: its %s probe does not ask %s", name, strings.Fields(what)[0], path)
		}
	}
}

// sidecar checks that the sidecar's settings are those of dapr/dapr.yaml. Its own ports are the same in every pod.
func (r *review) sidecar(w workload, app repository.App) {
	daprd := w.container("daprd")
	if daprd == nil || !strings.HasPrefix(daprd.Image, "caravan/daprd:") {
		r.report("%s: it has no sidecar", w.name)
		return
	}
	got := map[string]string{}
	for name, values := range flags(daprd) {
		if got[name] = values[0]; !slices.Contains(daprOptions(), strings.TrimPrefix(name, "--")) {
			r.report("%s: daprd has no option %s", w.name, name)
		}
	}
	r.expect(w.name, got, map[string]string{
		"--mode": "standalone", "--app-id": app.ID, "--app-port": strconv.Itoa(app.Port), "--app-protocol": app.Protocol,
		"--app-channel-address": "127.0.0.1", "--dapr-listen-addresses": "127.0.0.1",
		"--dapr-http-port": "3500", "--dapr-grpc-port": "50001", // the default address of the sidecar in a program
		"--dapr-internal-grpc-port": "50002", "--dapr-public-port": "3501", "--metrics-port": "9090",
		"--log-level": r.common.LogLevel, "--read-buffer-size": r.common.ReadBufferSize, "--enable-profiling": "false",
	})
	r.leaving(w, got["--dapr-block-shutdown-duration"])
}

// annotations checks that the injector gets the settings of dapr/dapr.yaml.
func (r *review) annotations(w workload, app repository.App) {
	for name, value := range w.Annotations {
		if strings.HasPrefix(name, "dapr.io/") && !slices.Contains(daprAnnotations(), name) {
			r.report("%s: Dapr has no annotation %s", w.name, name)
		}
		if strings.Contains(name, "token") && !strings.HasSuffix(name, "-secret") || strings.Contains(value, "TOKEN") {
			r.report("%s: the annotation %s may hold a token", w.name, name)
		}
	}
	r.expect(w.name, w.Annotations, map[string]string{
		"dapr.io/enabled": "true", "dapr.io/app-id": app.ID, "dapr.io/app-port": strconv.Itoa(app.Port),
		"dapr.io/app-protocol": app.Protocol, "dapr.io/config": app.ID, "dapr.io/sidecar-listen-addresses": "127.0.0.1",
		"dapr.io/log-level": r.common.LogLevel, "dapr.io/read-buffer-size": r.common.ReadBufferSize,
		"dapr.io/disable-builtin-k8s-secret-store": "true", "dapr.io/sidecar-seccomp-profile-type": "RuntimeDefault",
	})
	for _, name := range []string{"cpu-request", "memory-request", "memory-limit"} {
		if w.Annotations["dapr.io/sidecar-"+name] == "" {
			r.report("%s: its sidecar has no %s", w.name, name)
		}
	}
	r.leaving(w, w.Annotations["dapr.io/block-shutdown-duration"])
}

// leaving checks that a pod's two containers stop in the right order and have enough time. A service stops after its
// sidecar has finished its calls. The gateway's sidecar stops after the gateway has forwarded its requests.
func (r *review) leaving(w workload, block string) {
	takes, err := time.ParseDuration(block)
	if err != nil {
		r.report("%s: its sidecar stops at once", w.name)
	}
	delay, err := time.ParseDuration(environment(w.container("program"))["CARAVAN_DRAIN_DELAY"])
	switch drained := delay + drainTimeout; {
	case err != nil || w.name != "gateway" && delay <= takes:
		r.report("%s: it drains after %s, its sidecar takes calls for %s", w.name, delay, takes)
	case w.name == "gateway" && takes <= drained:
		r.report("gateway: it forwards requests for %s, its sidecar for %s", drained, takes)
	}
	if grace := w.Spec.TerminationGracePeriodSeconds; grace == nil || time.Duration(*grace)*time.Second <= max(delay+drain, takes) {
		r.report("%s: it has a shorter grace than its end may take", w.name)
	}
}

// tokens checks that a program shares its two tokens with its sidecar and with no other.
func (r *review) tokens() {
	owner := map[string]string{}
	for _, w := range r.workloads() {
		program := w.container("program")
		if !w.program || program == nil {
			continue
		}
		theirs := map[string]string{
			"DAPR_API_TOKEN": "secret " + w.Annotations["dapr.io/api-token-secret"] + " token",
			"APP_API_TOKEN":  "secret " + w.Annotations["dapr.io/app-token-secret"] + " token",
		}
		if daprd := w.container("daprd"); daprd != nil {
			theirs = environment(daprd)
		}
		for _, name := range []string{"DAPR_API_TOKEN", "APP_API_TOKEN"} {
			token := environment(program)[name]
			if !strings.HasPrefix(token, "secret ") || token != theirs[name] {
				r.report("%s: its %s is not its sidecar's", w.name, name)
			}
			if other := owner[token]; other != "" {
				r.report("%s: its %s is also a token of %s", w.name, name, other)
			}
			owner[token] = w.name
		}
	}
}

// pod checks the rules for every pod.
func (r *review) pod(w workload) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		r.report("%v", err)
		return
	}
	restricted := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(restricted, &w.ObjectMeta, &w.Spec) {
		if !result.Allowed {
			r.report("%s: restricted pod security refuses it: %s: %s", w.name, result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
	needs := map[string]bool{
		"a token of its service account":            w.Spec.AutomountServiceAccountToken != nil && !*w.Spec.AutomountServiceAccountToken,
		"the addresses of Services as variables":    w.Spec.EnableServiceLinks != nil && !*w.Spec.EnableServiceLinks,
		"no user":                                   w.Spec.SecurityContext != nil && w.Spec.SecurityContext.RunAsUser != nil,
		"no service account of its own":             !w.program || w.Spec.ServiceAccountName == w.name && r.hasAccount(w.name),
		"no spread over nodes and zones":            !w.program || r.spreads(w, "kubernetes.io/hostname") && r.spreads(w, "topology.kubernetes.io/zone"),
		"no PodDisruptionBudget":                    !w.program || r.budgetsOf(w) == 1,
		"keys of its own, or that others may read":  w.name != "users" || keyring(w),
		"containers in an order nobody can rely on": w.Annotations["kubectl.kubernetes.io/default-container"] == "program" || !w.program,
	}
	for _, what := range slices.Sorted(maps.Keys(needs)) {
		if !needs[what] {
			r.report("%s: it has %s", w.name, what)
		}
	}
}

func (r *review) hasAccount(name string) bool {
	for _, account := range r.accounts {
		if account.Name == name {
			return account.AutomountServiceAccountToken != nil && !*account.AutomountServiceAccountToken
		}
	}
	return false
}

func selects(selector *metav1.LabelSelector, of map[string]string) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(of))
}

func (r *review) spreads(w workload, topology string) bool {
	for _, constraint := range w.Spec.TopologySpreadConstraints {
		if constraint.TopologyKey == topology {
			return selects(constraint.LabelSelector, w.Labels) && slices.Contains(constraint.MatchLabelKeys, "app.kubernetes.io/name")
		}
	}
	return false
}

func (r *review) budgetsOf(w workload) (n int) {
	for _, budget := range r.budgets {
		if selects(budget.Spec.Selector, w.Labels) {
			n++
		}
	}
	return n
}

// keyring reports whether a pod's keys are a Secret that the program accepts. It refuses files that others may read.
func keyring(w workload) bool {
	program := w.container("program")
	for _, volume := range w.Spec.Volumes {
		if volume.Secret == nil || volume.Secret.SecretName != "users-keys" {
			continue
		}
		mounted := slices.ContainsFunc(program.VolumeMounts, func(m corev1.VolumeMount) bool {
			return m.Name == volume.Name && m.ReadOnly && m.MountPath == environment(program)["CARAVAN_KEYS_DIR"]
		})
		mode := volume.Secret.DefaultMode
		return mounted && mode != nil && *mode&0o007 == 0 && w.Spec.SecurityContext.FSGroup != nil
	}
	return false
}

// container checks the rules for every container.
func (r *review) container(w workload, c *corev1.Container) {
	memory, limit := c.Resources.Requests.Memory(), c.Resources.Limits.Memory()
	needs := map[string]bool{
		"no startup probe":                         c.StartupProbe != nil,
		"no readiness probe":                       c.ReadinessProbe != nil,
		"no liveness probe":                        c.LivenessProbe != nil,
		"a root that it can write to":              c.SecurityContext != nil && c.SecurityContext.ReadOnlyRootFilesystem != nil && *c.SecurityContext.ReadOnlyRootFilesystem,
		"no request of processor time":             !c.Resources.Requests.Cpu().IsZero(),
		"no request of memory":                     !memory.IsZero(),
		"no limit of memory, or below its request": limit.Cmp(*memory) > 0,
		"no tag of its image":                      strings.Contains(c.Image, ":") && !strings.HasSuffix(c.Image, ":latest"),
		"an image that is fetched again":           c.ImagePullPolicy == corev1.PullIfNotPresent,
	}
	if w.program {
		soft, err := strconv.Atoi(strings.TrimSuffix(environment(c)["GOMEMLIMIT"], "MiB"))
		needs["no GOMEMLIMIT below its limit of memory"] = err == nil && int64(soft)<<20 < limit.Value()
	}
	for _, what := range slices.Sorted(maps.Keys(needs)) {
		if !needs[what] {
			r.report("%s: its container %s has %s", w.name, c.Name, what)
		}
	}
}

// replicas checks that production has at least two of everything and no server, and development three servers.
func (r *review) replicas() {
	for _, d := range r.deployments {
		// Longer than DNS answers are cached (usually 5 s) and than sidecars wait between two checks (2 s).
		if d.Spec.MinReadySeconds < 10 {
			r.report("%s: an old pod leaves before callers know the new one", d.Name)
		}
	}
	if !r.production {
		if len(r.statefulSets) != 3 || len(r.autoscalers) != 0 {
			r.report("development has %d servers and %d autoscalers", len(r.statefulSets), len(r.autoscalers))
		}
		return
	}
	if len(r.statefulSets) != 0 {
		r.report("production has a server of its own")
	}
	least := map[string]int32{}
	for _, scaler := range r.autoscalers {
		if scaler.Spec.MinReplicas != nil && scaler.Spec.ScaleTargetRef.Kind == "Deployment" {
			least[scaler.Spec.ScaleTargetRef.Name] = *scaler.Spec.MinReplicas
		}
	}
	for _, d := range r.deployments {
		if least[d.Name] < 2 {
			r.report("%s: production has fewer than two replicas", d.Name)
		}
		if d.Spec.Replicas != nil {
			r.report("%s: its replicas are set at each apply, against its autoscaler", d.Name)
		}
		if unavailable := d.Spec.Strategy.RollingUpdate; unavailable == nil || unavailable.MaxUnavailable.IntValue() != 0 {
			r.report("%s: an update takes a replica away before there is another", d.Name)
		}
	}
}

var hashed = regexp.MustCompile(`-[a-z0-9]{10}$`)

// configurationMaps checks that the names of ConfigMaps contain their hash, so that a change replaces the pods.
func (r *review) configurationMaps() {
	names := map[string]bool{}
	for _, m := range r.configMaps {
		names[m.Name] = true
		if !hashed.MatchString(m.Name) {
			r.report("ConfigMap %s is not named by its hash", m.Name)
		}
	}
	for _, w := range r.workloads() {
		for _, volume := range w.Spec.Volumes {
			if volume.ConfigMap != nil && !names[volume.ConfigMap.Name] {
				r.report("%s: there is no ConfigMap %s", w.name, volume.ConfigMap.Name)
			}
		}
	}
}

// sidecarServices checks that under an app's name the name resolution finds exactly that app's sidecars.
func (r *review) sidecarServices() {
	for _, w := range r.workloads() {
		var ports []string
		for _, service := range r.services {
			if service.Name == w.name+"-dapr" && labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(w.Labels)) {
				ports = append(ports, fmt.Sprintf("%d to %s", service.Spec.Ports[0].Port, service.Spec.Ports[0].TargetPort.String()))
				if all := service.Spec.ClusterIP == corev1.ClusterIPNone; all != r.production {
					r.report("%s: DNS gives the addresses of all its replicas: %t", w.name, all)
				}
			}
		}
		wanted := r.overlay == "plain" && w.program && w.name != "gateway" // Dapr's operator creates its own; nothing calls the gateway
		if got := strings.Join(ports, ", "); wanted && got != "50002 to 50002" || !wanted && got != "" {
			r.report("%s: its sidecar's Service has the ports %q", w.name, got)
		}
	}
}
