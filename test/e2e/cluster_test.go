package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/process"
	"caravan/test/cluster/pods"
	"caravan/test/reach"
)

// clustered is Caravan on the Kubernetes node on which the tests run (test/cluster/prove.sh TestEndToEnd starts both
// there). A process is a container of a pod; "broker" and "store" are those of the pods with these names.
type clustered struct {
	gateway string
	mail    string // the page of the mail server
	secrets map[string]map[string]string
	relays  map[string]string // by service: the local address of the sidecar's HTTP API, which listens only in its pod
	stop    context.CancelFunc
	// relaying waits for the ends of the relays.
	relaying []func()
}

// traces is the node, to which test/cluster/overlays/quick sends traces.
const traces = "198.51.100.1:4318"

func launchOnCluster(ctx context.Context, s *stack, options launcher.Options) (target, error) {
	if !pods.OnNode() {
		return nil, errors.New("the target cluster needs a node: test/cluster/prove.sh TestEndToEnd")
	}
	if options.Broker != "rabbitmq" || options.Store != "postgres" {
		return nil, fmt.Errorf("the cluster runs rabbitmq and postgres, not %s and %s", options.Broker, options.Store)
	}
	address, err := pods.Kubectl(ctx, "", "get", "service", "gateway", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return nil, err
	}
	mail, err := pods.Kubectl(ctx, "", "get", "service", "mail", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return nil, err
	}
	c := &clustered{mail: "http://" + mail + ":8025", gateway: "http://" + address, secrets: map[string]map[string]string{}, relays: map[string]string{}}
	if err := c.readSecrets(ctx); err != nil {
		return nil, err
	}
	if _, err := s.sink.Listen(traces); err != nil {
		return nil, fmt.Errorf("receiving traces: %w", err)
	}
	background, stop := context.WithCancel(context.Background())
	c.stop = stop
	for _, service := range services {
		if c.relays[service], err = c.relay(background, service); err != nil {
			c.Remove()
			return nil, err
		}
	}
	return c, nil
}

func (c *clustered) readSecrets(ctx context.Context) error {
	raw, err := pods.Kubectl(ctx, "", "get", "secrets", "-o", "json")
	if err != nil {
		return err
	}
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Data     map[string]string
		}
	}
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		return fmt.Errorf("reading the secrets: %w", err)
	}
	for _, secret := range list.Items {
		c.secrets[secret.Metadata.Name] = map[string]string{}
		for key, value := range secret.Data {
			decoded, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				return fmt.Errorf("reading the secret %s: %w", secret.Metadata.Name, err)
			}
			c.secrets[secret.Metadata.Name][key] = strings.TrimSpace(string(decoded))
		}
	}
	return nil
}

// relay forwards connections to a sidecar, in whichever pod it is.
func (c *clustered) relay(ctx context.Context, service string) (string, error) {
	address, wait, err := reach.Relay(ctx, func(ctx context.Context) (net.Conn, error) {
		pod, err := podOf(ctx, service)
		if err != nil {
			return nil, err
		}
		return pod.Container("daprd").Dial(ctx, "tcp", "127.0.0.1:3500")
	})
	if err != nil {
		return "", fmt.Errorf("relaying to the sidecar of %s: %w", service, err)
	}
	c.relaying = append(c.relaying, wait)
	return "http://" + address.String(), nil
}

// podOf returns the pod of a service, of the broker or of the store.
func podOf(ctx context.Context, service string) (pods.Pod, error) {
	found, err := pods.List(ctx, "app.kubernetes.io/name="+service)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%d pods of %s, want one", len(found), service)
	}
	if err != nil {
		return pods.Pod{}, err
	}
	return found[0], nil
}

// where splits the name of a process into those of its pod and its container.
func where(name string) (service, container string) {
	switch {
	case name == "broker":
		return name, "rabbitmq"
	case name == "store":
		return name, "postgres"
	case strings.HasSuffix(name, "-daprd"):
		return strings.TrimSuffix(name, "-daprd"), "daprd"
	}
	return name, "program"
}

func (c *clustered) GatewayURL() string { return c.gateway }

func (c *clustered) Admin() launcher.User {
	return launcher.User{Email: "admin@caravan.example", Password: c.secrets["admin"]["password"], Role: "admin"}
}

func (c *clustered) Processes(ctx context.Context) ([]process.Status, error) {
	var names []string
	for _, service := range services {
		names = append(names, service, service+"-daprd")
	}
	found, err := pods.List(ctx, "app.kubernetes.io/name")
	if err != nil {
		return nil, err
	}
	var statuses []process.Status
	for _, name := range append(names, "broker", "store") {
		status := process.Status{Name: name, State: process.Stopped}
		service, container := where(name)
		for _, pod := range found {
			if pod.Program() != service {
				continue
			}
			k := pod.Container(container)
			status.State, status.Restarts = process.Starting, k.RestartCount
			if k.Ready {
				status.State = process.Ready
			}
			if pids, err := k.Processes(); err == nil { // none between two lives
				status.PID = slices.Min(pids)
			}
			for _, described := range pod.Spec.Containers {
				if described.Name == "program" && container == "program" && pod.Status.PodIP != "" {
					status.URL = fmt.Sprintf("http://%s:%d", pod.Status.PodIP, described.Ports[0].ContainerPort)
				}
			}
		}
		if container == "daprd" {
			status.URL = c.relays[service]
		}
		statuses = append(statuses, status)
	}
	return statuses, nil
}

func (c *clustered) Serves(ctx context.Context, name string) error {
	all, err := c.Processes(ctx)
	if err != nil {
		return err
	}
	return reach.Serves(ctx, all[slices.IndexFunc(all, func(s process.Status) bool { return s.Name == name })])
}

func (c *clustered) Kill(ctx context.Context, name string) error {
	service, container := where(name)
	pod, err := podOf(ctx, service)
	if err != nil {
		return err
	}
	return pod.Container(container).Kill()
}

// Crash removes the whole pod, because nothing can keep one container of it down. It first freezes the pod's processes:
// even a forced deletion asks them to stop, and they would continue to answer until they have drained.
func (c *clustered) Crash(ctx context.Context, name string) error {
	service, _ := where(name)
	pod, err := podOf(ctx, service)
	if err != nil {
		return err
	}
	for _, container := range pod.Status.ContainerStatuses {
		if err := container.Freeze(); err != nil && !errors.Is(err, pods.ErrNoProcess) {
			return err
		}
	}
	if _, err := pods.Kubectl(ctx, "", "scale", "--replicas=0", workload(service)); err != nil {
		return err
	}
	if _, err := pods.Kubectl(ctx, "", "delete", "pods", "-l", "app.kubernetes.io/name="+service, "--force", "--grace-period=0"); err != nil {
		return err
	}
	for _, container := range pod.Status.ContainerStatuses {
		if err := container.Kill(); err != nil && !errors.Is(err, pods.ErrNoProcess) {
			return err
		}
	}
	return nil
}

func (c *clustered) Start(ctx context.Context, name string) error {
	service, _ := where(name)
	if _, err := pods.Kubectl(ctx, "", "scale", "--replicas=1", workload(service)); err != nil {
		return err
	}
	return c.settled(ctx, service)
}

// settled waits until the workloads have their pods and these are ready.
func (c *clustered) settled(ctx context.Context, all ...string) error {
	for _, service := range all {
		if _, err := pods.Kubectl(ctx, "", "rollout", "status", workload(service), "--timeout="+waitLimit.String()); err != nil {
			return err
		}
	}
	return nil
}

// workload returns the workload of a service's pods.
func workload(service string) string {
	if service == "broker" || service == "store" {
		return "statefulset/" + service
	}
	return "deployment/" + service
}

func (c *clustered) Restart(ctx context.Context) error {
	everything := append(slices.Clone(services), "broker", "store")
	for _, replicas := range []string{"0", "1"} {
		for _, service := range everything {
			if _, err := pods.Kubectl(ctx, "", "scale", "--replicas="+replicas, workload(service)); err != nil {
				return err
			}
		}
		if replicas == "0" {
			if _, err := pods.Kubectl(ctx, "", "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name", "--timeout="+waitLimit.String()); err != nil {
				return err
			}
		}
	}
	return c.settled(ctx, everything...)
}

func (c *clustered) APIToken(service string) string { return c.secrets[service+"-api-token"]["token"] }

func (c *clustered) Secrets() map[string]string {
	all := map[string]string{}
	for name, secret := range c.secrets {
		if strings.HasSuffix(name, "-host") || strings.HasSuffix(name, "-brokers") { // addresses of unused servers
			continue
		}
		for key, value := range secret {
			all[name+" "+key] = value
		}
	}
	return all
}

// LogLines reads the log files of the containers, including those of earlier lives.
func (c *clustered) LogLines(_ context.Context, accept func(launcher.LogLine) bool) ([]launcher.LogLine, error) {
	files, err := filepath.Glob("/var/log/pods/" + pods.Namespace + "_*/*/*.log")
	if err != nil {
		return nil, fmt.Errorf("looking for logs: %w", err)
	}
	var lines []launcher.LogLine
	for _, file := range files {
		content, err := os.ReadFile(file)
		if errors.Is(err, syscall.ENOENT) {
			continue // its pod was removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("reading a log: %w", err)
		}
		container := filepath.Base(filepath.Dir(file))
		_, pod, _ := strings.Cut(filepath.Base(filepath.Dir(filepath.Dir(file))), "_")
		service, _, _ := strings.Cut(pod, "-")
		name := service
		if container == "daprd" {
			name += "-daprd"
		}
		for raw := range strings.Lines(string(content)) {
			// The format of the runtime: time, stream, F or P, text.
			fields := strings.SplitN(strings.TrimSuffix(raw, "\n"), " ", 4)
			if len(fields) < 4 {
				continue
			}
			if line := launcher.ParseLine(name, fields[3]); accept == nil || accept(line) {
				lines = append(lines, line)
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b launcher.LogLine) int { return a.Time.Compare(b.Time) })
	return lines, nil
}

// Remove does nothing, because the node ends after the tests.
func (c *clustered) Remove() {
	c.stop()
	for _, wait := range c.relaying {
		wait()
	}
}
