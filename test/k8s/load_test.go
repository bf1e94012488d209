package k8s

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"caravan/dapr/launcher/manifest"
	"caravan/test/repository"
)

// variant is one way to combine the parts of a cluster.
type variant struct {
	overlay    string // plain or dapr
	production bool
	broker     string
	store      string
	observe    bool // spans go to the collectors
}

func (v variant) String() string {
	environment := "development"
	if v.production {
		environment = "production"
	}
	name := strings.Join([]string{v.overlay, environment, v.broker, v.store}, "-")
	if v.observe {
		name += "-observe"
	}
	return name
}

// standard returns the variant in the folders of k8s/clusters.
func standard(overlay string, production bool) variant {
	return variant{overlay, production, "rabbitmq", "postgres", false}
}

// variants returns all variants.
func variants() []variant {
	var all []variant
	for _, overlay := range []string{"plain", "dapr"} {
		for _, production := range []bool{false, true} {
			for _, broker := range []string{"rabbitmq", "kafka"} {
				for _, store := range []string{"postgres", "redis"} {
					all = append(all, variant{overlay, production, broker, store, false})
				}
			}
		}
	}
	return append(all, observed("plain"), observed("dapr"))
}

// observed returns a variant whose spans go to the collectors.
func observed(overlay string) variant {
	return variant{overlay, false, "rabbitmq", "postgres", true}
}

// cluster is the result of a kustomization.
type cluster struct {
	variant
	home         string // namespace
	text         []byte
	namespaces   []corev1.Namespace
	deployments  []appsv1.Deployment
	statefulSets []appsv1.StatefulSet
	daemonSets   []appsv1.DaemonSet
	services     []corev1.Service
	accounts     []corev1.ServiceAccount
	configMaps   []corev1.ConfigMap
	policies     []networkingv1.NetworkPolicy
	budgets      []policyv1.PodDisruptionBudget
	autoscalers  []autoscalingv2.HorizontalPodAutoscaler
	resources    []manifest.Document // Dapr's
}

// folder returns the folder of the variant's kustomization. If it is not in k8s/clusters, it is written into a copy.
func (v variant) folder(r repository.Root) (string, error) {
	clusters := filepath.Join(string(r), "k8s", "clusters")
	if v == standard(v.overlay, v.production) {
		name := v.overlay + "-development"
		if v.production {
			name = v.overlay + "-production"
		}
		return filepath.Join(clusters, name), nil
	}
	components := []string{v.broker, v.store, "production"}
	if !v.production {
		components = []string{v.broker, v.store, "development/" + v.broker, "development/" + v.store, "development/mail", "push"}
	}
	if v.observe {
		components = append(components, "observe")
	}
	text := fmt.Sprintf("kind: Kustomization\nnamespace: caravan\nresources: [../../overlays/%s]\ncomponents:\n", v.overlay)
	for _, component := range components {
		text += "  - ../../components/" + component + "\n"
	}
	folder := filepath.Join(clusters, v.String())
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	return folder, os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o644)
}

// build builds a variant from the repository or a copy of it.
func build(r repository.Root, v variant) (*cluster, error) {
	folder, err := v.folder(r)
	if err != nil {
		return nil, err
	}
	return buildFolder(&cluster{variant: v, home: ourNamespace}, folder)
}

// buildFolder builds the kustomization in a folder.
func buildFolder(c *cluster, folder string) (*cluster, error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, err
	}
	if c.text, err = built.AsYaml(); err != nil {
		return nil, err
	}
	for _, resource := range built.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			return nil, err
		}
		if err := c.add(resource.GetKind(), resource.GetApiVersion(), text); err != nil {
			return nil, fmt.Errorf("%s %s: %w", resource.GetKind(), resource.GetName(), err)
		}
	}
	return c, nil
}

func (c *cluster) add(kind, apiVersion string, text []byte) error {
	switch kind {
	case "Namespace":
		return into(&c.namespaces, text)
	case "Deployment":
		return into(&c.deployments, text)
	case "StatefulSet":
		return into(&c.statefulSets, text)
	case "DaemonSet":
		return into(&c.daemonSets, text)
	case "Service":
		return into(&c.services, text)
	case "ServiceAccount":
		return into(&c.accounts, text)
	case "ConfigMap":
		return into(&c.configMaps, text)
	case "NetworkPolicy":
		return into(&c.policies, text)
	case "PodDisruptionBudget":
		return into(&c.budgets, text)
	case "HorizontalPodAutoscaler":
		return into(&c.autoscalers, text)
	}
	if !strings.HasPrefix(apiVersion, "dapr.io/") {
		return fmt.Errorf("nothing here uses a %s", kind)
	}
	return c.addDapr(text)
}

func into[T any](list *[]T, text []byte) error {
	var object T
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		return err
	}
	*list = append(*list, object)
	return nil
}

// addDapr reads a resource of Dapr as the sidecar gets it, without the cluster's metadata.
func (c *cluster) addDapr(text []byte) error {
	var object map[string]any
	if err := yaml.Unmarshal(text, &object); err != nil {
		return err
	}
	metadata, _ := object["metadata"].(map[string]any)
	object["metadata"] = map[string]any{"name": metadata["name"]}
	text, err := yaml.Marshal(object)
	if err != nil {
		return err
	}
	documents, err := manifest.Decode("the cluster", text)
	c.resources = append(c.resources, documents...)
	return err
}

// workload is a Deployment, StatefulSet or DaemonSet.
type workload struct {
	name    string
	program bool // of Caravan, with a sidecar; otherwise a server
	corev1.PodTemplateSpec
}

func (c *cluster) workloads() []workload {
	var all []workload
	for _, d := range c.deployments {
		all = append(all, workload{d.Name, true, d.Spec.Template})
	}
	for _, s := range c.statefulSets {
		all = append(all, workload{s.Name, false, s.Spec.Template})
	}
	for _, d := range c.daemonSets {
		all = append(all, workload{d.Name, false, d.Spec.Template})
	}
	return all
}

// container returns a container of a pod by its name.
func (w workload) container(name string) *corev1.Container {
	for i := range w.Spec.Containers {
		if w.Spec.Containers[i].Name == name {
			return &w.Spec.Containers[i]
		}
	}
	return nil
}

// environment returns the variables of a container; one from a Secret is "secret NAME KEY".
func environment(container *corev1.Container) map[string]string {
	values := map[string]string{}
	for _, variable := range container.Env {
		values[variable.Name] = variable.Value
		if from := variable.ValueFrom; from != nil && from.SecretKeyRef != nil {
			values[variable.Name] = "secret " + from.SecretKeyRef.Name + " " + from.SecretKeyRef.Key
		}
	}
	return values
}

// flags returns the arguments --name=value of a container, with its own variables replaced.
func flags(container *corev1.Container) map[string][]string {
	values := map[string][]string{}
	own := environment(container)
	for _, argument := range container.Args {
		name, value, _ := strings.Cut(argument, "=")
		for variable, text := range own {
			value = strings.ReplaceAll(value, "$("+variable+")", text)
		}
		values[name] = append(values[name], value)
	}
	return values
}
