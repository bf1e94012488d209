package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"caravan/dapr/launcher"
	"caravan/test/containers"
)

// contained is a stack of docker compose: a separate project with the files of compose/, and the images of CARAVAN_TAG.
type contained struct {
	*containers.Project
}

func launchContainers(ctx context.Context, s *stack, options launcher.Options) (_ target, err error) {
	number, err := replicas()
	if err != nil {
		return nil, err
	}
	files, err := composeFiles(options.Broker, options.Store, number)
	if err != nil {
		return nil, err
	}
	names := append([]string{}, services...)
	if number == 2 {
		for _, service := range services {
			if service != "gateway" {
				names = append(names, service+"-2")
			}
		}
	}
	c := &contained{}
	c.Project, err = containers.New(ctx, containers.Options{Root: "../..", Files: files, Reaching: names, Services: func(p *containers.Project) map[string]any {
		return c.overrides(p, s, names)
	}})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(c.Up(ctx), c.WaitServing(ctx)); err != nil {
		return c, err
	}
	return c, nil
}

// composeFiles returns the files after compose.yaml for a broker and a store.
func composeFiles(broker, store string, replicas int) ([]string, error) {
	var files []string
	for _, part := range []struct {
		name  string
		files map[string]string
	}{
		{broker, map[string]string{"rabbitmq": "", "kafka": "kafka-embedded.yaml"}},
		{store, map[string]string{"postgres": "", "sqlite": "sqlite.yaml", "redis": "redis.yaml"}},
		{fmt.Sprint(replicas), map[string]string{"1": "", "2": "replicas.yaml"}},
	} {
		file, known := part.files[part.name]
		if !known {
			return nil, fmt.Errorf("compose/ has no file for %s, %s and %d replicas", broker, store, replicas)
		}
		if file != "" {
			files = append(files, file)
		}
	}
	return files, nil
}

// overrides returns the quick settings, and the address for traces.
func (c *contained) overrides(p *containers.Project, s *stack, names []string) map[string]any {
	changed := map[string]any{"seed": map[string]any{"profiles": []string{"seed"}}} // these shops start empty
	for _, name := range names {
		pair := map[string]map[string]string{name: {}, name + "-daprd": {}}
		service, _, _ := strings.Cut(name, "-")
		for variable, value := range environment()[service] {
			pair[name][variable] = value
		}
		sink := s.sinkAt(p.Host(name))
		for container, variables := range pair {
			if sink != "" {
				variables["OTEL_SERVICE_NAME"] = container
				variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink
				variables["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
				variables["OTEL_EXPORTER_OTLP_INSECURE"] = "true"
				variables["OTEL_BSP_SCHEDULE_DELAY"] = "300" // spans within a second instead of five
			}
			changed[container] = map[string]any{"environment": variables}
		}
	}
	return changed
}

// sinkAt makes the trace sink listen at an address of this machine as well.
func (s *stack) sinkAt(host string) string {
	address, err := s.sink.Listen(net.JoinHostPort(host, "0"))
	if err != nil { // the test of traces will report it
		fmt.Fprintln(os.Stderr, "traces of", host, "are not received:", err)
	}
	return address
}

func (c *contained) GatewayURL() string { return c.Gateway }

func (c *contained) Admin() launcher.User {
	return launcher.User{Email: "admin@caravan.example", Password: c.Project.Secrets()["ADMIN_PASSWORD"], Role: "admin"}
}

func (c *contained) Kill(ctx context.Context, name string) error {
	return c.Project.Kill(ctx, name, syscall.SIGKILL)
}

func (c *contained) Restart(ctx context.Context) error {
	return errors.Join(c.Down(ctx), c.Up(ctx), c.WaitServing(ctx))
}

func (c *contained) APIToken(service string) string {
	return c.Project.Secrets()[strings.ToUpper(strings.ReplaceAll(service, "-", "_"))+"_API_TOKEN"]
}

func (c *contained) Secrets() map[string]string {
	secrets := c.Project.Secrets()
	delete(secrets, "CARAVAN_PORT")
	return secrets
}

func (c *contained) LogLines(ctx context.Context, accept func(launcher.LogLine) bool) ([]launcher.LogLine, error) {
	return c.ReadLogs(ctx, "", accept)
}

func (c *contained) Remove() {
	if keep {
		fmt.Fprintln(os.Stderr, c.Keep())
		return
	}
	c.Project.Remove()
}
