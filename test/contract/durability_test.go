package contract

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/process"
)

// durable are settings. With other values a server would answer before the data is on disk.
var durable = struct{ redis, postgres map[string]string }{
	redis: map[string]string{
		"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no", "maxmemory-policy": "noeviction",
	},
	postgres: map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"},
}

// TestDurability asks the private servers for their settings in use, because they may not use the settings of a file.
func TestDurability(t *testing.T) {
	if inCompose {
		t.Skip("TestDurability is not run with the target compose: TestDurabilityInCompose asks its servers")
	}
	t.Run("redis", func(t *testing.T) { hasConfig(t, private(t, infra.Store, "redis"), durable.redis) })
	t.Run("redis-streams", func(t *testing.T) { hasConfig(t, private(t, infra.Broker, "redis-streams"), durable.redis) })
	t.Run("postgres", func(t *testing.T) {
		server := private(t, infra.Store, "postgres")
		for setting, want := range durable.postgres {
			psql := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(server.Processes[0].Path), "psql"), "-Atc", "SHOW "+setting, server.URL)
			output, err := psql.CombinedOutput()
			if got := strings.TrimSpace(string(output)); err != nil || got != want {
				t.Errorf("%s is %q, want %q; %v", setting, got, want, err)
			}
		}
	})
	// SQLite is not a server: each connection has its own settings, and only the component that opens it can read them.
	// The component's module has the test.
	t.Run("sqlite", func(t *testing.T) {
		if testing.Short() {
			t.Skip("builds the sidecar's components")
		}
		sidecarProgram(t)
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		command := exec.CommandContext(ctx, "go", "test", "-count=1", "./storecopy")
		command.Dir, command.Env = filepath.Join(root, "dapr", "daprd"), append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		if output, err := command.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, output)
		}
	})
}

// private starts a private server of that kind for the test.
func private(t *testing.T, choose func(string, infra.Place) (infra.Server, error), kind string) infra.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir, ports := t.TempDir(), process.NewPorts()
	t.Cleanup(ports.Release)
	server, err := choose(kind, infra.Place{Dir: dir, Port: ports.Take, Getenv: os.Getenv})
	if errors.Is(err, infra.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(server.Processes) == 0 {
		t.Skip("it runs elsewhere; whoever runs it sets it up")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := server.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	supervisor := process.NewSupervisor(dir, nil, nil)
	t.Cleanup(supervisor.Close)
	s := &stack{}
	for _, spec := range server.Processes {
		s.start(ctx, t, supervisor, spec)
	}
	return server
}

// hasConfig compares the settings in use of a server with the protocol RESP.
func hasConfig(t *testing.T, server infra.Server, want map[string]string) {
	t.Helper()
	conn, reader := respTo(t, server)
	for setting, value := range want {
		// The answer is an array of the name and the value, each after its length.
		if _, err := ask(conn, reader, "CONFIG GET "+setting); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for range 4 {
			line, err := reader.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, strings.TrimSpace(line))
		}
		if lines[1] != setting || lines[3] != value {
			t.Errorf("%s is %q, want %q", setting, lines[3], value)
		}
	}
}

// ask sends a command and reads the first line of its answer.
func ask(conn io.Writer, reader *bufio.Reader, command string) (string, error) {
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return "", err
	}
	line, err := reader.ReadString('\n')
	return strings.TrimSpace(line), err
}
