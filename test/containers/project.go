// Package containers runs a docker compose project for tests: the files in compose/ with a name, a port, secrets and
// volumes of the project's own. It needs the Docker engine on this machine.
package containers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/compose"
	"caravan/dapr/launcher/process"
)

// Options say which project to make.
type Options struct {
	Root string // the repository
	// Files are those of compose/ after compose.yaml, as "sqlite.yaml".
	Files []string
	// Reaching are networks from which containers reach this machine, at Host. They are those of the compose files, and as
	// closed as there, but made by this package: an address is needed before the first container starts.
	Reaching []string
	// Services changes services of the files, as an override file of Compose does.
	Services func(p *Project) map[string]any
}

// Project is a project of one test. Whatever happens to the test's process, its containers, networks and volumes are
// removed.
type Project struct {
	*compose.Project
	dir     string
	options Options
	secrets map[string]string
	ports   *process.Ports
	hosts   map[string]string // this machine's address in each network of Options.Reaching

	remover *exec.Cmd
	hold    io.Closer // the remover acts when it closes
}

// New prepares a project; nothing of it runs yet.
func New(ctx context.Context, options Options) (_ *Project, err error) {
	if _, err := launcher.FindDocker(ctx); err != nil {
		return nil, err
	}
	p := &Project{options: options, ports: process.NewPorts(), hosts: map[string]string{}}
	if _, err := p.run(ctx, "docker", "compose", "version"); err != nil {
		return nil, fmt.Errorf("docker compose is not installed: %w", err)
	}
	if p.dir, err = os.MkdirTemp("", "caravan-compose-*"); err != nil {
		return nil, fmt.Errorf("making the project's folder: %w", err)
	}
	p.Project = &compose.Project{Name: filepath.Base(p.dir)}
	p.Name = strings.ToLower(p.Name)
	defer func() {
		if err != nil {
			p.Remove()
		}
	}()
	if err := p.startRemover(); err != nil {
		return nil, err
	}
	if err := p.writeSecrets(); err != nil {
		return nil, err
	}
	for _, network := range options.Reaching {
		if p.hosts[network], err = p.makeNetwork(ctx, network); err != nil {
			return nil, err
		}
	}
	return p, p.writeOverride()
}

// startRemover starts a process of its own that outlives this one, and removes the project once this one lets go of it,
// or has ended in whatever way.
func (p *Project) startRemover() error {
	const script = `read -r _
docker compose --project-name "$0" kill || true # down alone would let each drain
docker compose --project-name "$0" down --volumes --remove-orphans &&
docker network ls --quiet --filter "label=caravan.test=$0" | xargs -r docker network rm &&
rm -rf "$1"`
	log, err := os.Create(filepath.Join(p.dir, "removal.log"))
	if err != nil {
		return fmt.Errorf("preparing the removal: %w", err)
	}
	defer log.Close()
	p.remover = exec.Command("sh", "-c", script, p.Name, p.dir)
	p.remover.Env, p.remover.Dir = environment(nil), p.dir
	p.remover.Stdout, p.remover.Stderr = log, log
	p.remover.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for it
	if p.hold, err = p.remover.StdinPipe(); err != nil {
		return fmt.Errorf("preparing the removal: %w", err)
	}
	if err := p.remover.Start(); err != nil {
		p.hold = nil
		return fmt.Errorf("preparing the removal: %w", err)
	}
	return nil
}

// Remove ends the containers and removes them with their networks and volumes.
func (p *Project) Remove() {
	p.ports.Release()
	if p.hold != nil {
		_ = p.hold.Close()
		if err := p.remover.Wait(); err != nil {
			said, _ := os.ReadFile(filepath.Join(p.dir, "removal.log"))
			fmt.Fprintf(os.Stderr, "removing the project %s: %v\n%s", p.Name, err, said)
		}
		return
	}
	_ = os.RemoveAll(p.dir)
}

// Keep leaves the project as it is, to be looked at, and returns how to remove it.
func (p *Project) Keep() string {
	_ = p.remover.Process.Kill()
	_ = p.remover.Wait()
	return fmt.Sprintf("kept %s; remove it with: docker compose --project-name %s down --volumes", p.dir, p.Name)
}

// writeSecrets makes a value for each secret that the files ask for, and chooses the ports of the gateway and of the page with the
// e-mails.
func (p *Project) writeSecrets() error {
	wanted, err := compose.RequiredVariables(filepath.Join(p.options.Root, "compose"))
	if err != nil {
		return err
	}
	port, err := p.ports.Take()
	if err != nil {
		return err
	}
	mails, err := p.ports.Take()
	if err != nil {
		return err
	}
	text, _ := compose.Complete(fmt.Sprintf("CARAVAN_PORT=%d\nCARAVAN_MAIL_PORT=%d\n", port, mails), wanted)
	p.secrets = compose.ParseEnv(text)
	p.Gateway = fmt.Sprintf("http://127.0.0.1:%d", port)
	p.Mail = fmt.Sprintf("http://127.0.0.1:%d", mails)
	if err := os.WriteFile(filepath.Join(p.dir, "env"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the secrets: %w", err)
	}
	return nil
}

// makeNetwork makes a network without a way out, and returns this machine's address in it.
func (p *Project) makeNetwork(ctx context.Context, network string) (string, error) {
	name := p.Name + "_" + network
	if _, err := p.run(ctx, "docker", "network", "create", "--internal", "--label", "caravan.test="+p.Name, name); err != nil {
		return "", err
	}
	address, err := p.run(ctx, "docker", "network", "inspect", "--format", "{{range .IPAM.Config}}{{.Gateway}}{{end}}", name)
	return strings.TrimSpace(address), err
}

// Host is this machine's address in a network of Options.Reaching.
func (p *Project) Host(network string) string { return p.hosts[network] }

// Secrets are the tokens and passwords by the names of their variables.
func (p *Project) Secrets() map[string]string { return maps.Clone(p.secrets) }

// writeOverride writes the last of the project's files. JSON is YAML too.
func (p *Project) writeOverride() error {
	services := map[string]any{}
	if p.options.Services != nil {
		services = p.options.Services(p)
	}
	raw, err := json.MarshalIndent(services, "", " ")
	if err != nil {
		return fmt.Errorf("writing the project's file: %w", err)
	}
	text := "services: " + string(raw) + "\nnetworks:\n"
	for network := range p.hosts {
		text += fmt.Sprintf("  %s: !override {external: true, name: %s_%s}\n", network, p.Name, network)
	}
	if len(p.hosts) == 0 {
		text += "  backbone: {}\n"
	}
	if err := os.WriteFile(filepath.Join(p.dir, "override.yaml"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the project's file: %w", err)
	}
	return nil
}

// Compose runs a command of docker compose on the project's files, and returns what it wrote.
func (p *Project) Compose(ctx context.Context, args ...string) (string, error) {
	folder := filepath.Join(p.options.Root, "compose")
	words := []string{"compose", "--project-name", p.Name, "--env-file", filepath.Join(p.dir, "env")}
	for _, file := range append([]string{"compose.yaml"}, p.options.Files...) {
		words = append(words, "--file", filepath.Join(folder, file))
	}
	words = append(words, "--file", filepath.Join(p.dir, "override.yaml"))
	return p.run(ctx, "docker", append(words, args...)...)
}

// Up starts services with what they depend on, or all.
func (p *Project) Up(ctx context.Context, services ...string) error {
	_, err := p.Compose(ctx, append([]string{"up", "--detach", "--no-build"}, services...)...)
	if err != nil && strings.Contains(err.Error(), "No such image: caravan/") {
		return fmt.Errorf("%w\nMake the images with: go run ./dapr images --tag %s", err, cmp.Or(os.Getenv("CARAVAN_TAG"), "dev"))
	}
	return err
}

// Down stops and removes the containers as people do; the volumes stay.
func (p *Project) Down(ctx context.Context) error {
	_, err := p.Compose(ctx, "down")
	return err
}

func (p *Project) run(ctx context.Context, name string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, name, args...)
	var out, said bytes.Buffer
	command.Stdout, command.Stderr, command.Env = &out, &said, environment(p.secrets)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 10 * time.Second
	if err := command.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.Join(lines[max(0, len(lines)-5):], "\n"))
	}
	return out.String(), nil
}

// environment is this process's, without what would name another project or other secrets.
func environment(secrets map[string]string) []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return secrets[name] != "" || strings.HasPrefix(name, "COMPOSE_")
	})
}
