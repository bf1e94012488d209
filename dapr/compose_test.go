package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"caravan/dapr/launcher"
)

// fakeDocker puts a fake docker command first on the PATH. It knows the given containers, records its arguments and
// starts nothing.
func fakeDocker(t *testing.T, inspected string) (asked func() string) {
	t.Helper()
	folder := t.TempDir()
	script := `#!/bin/sh
# A fake of the docker command, for tests.
echo "$@" >>"$FAKE_DOCKER/asked"
case $1 in
version) [ -e "$FAKE_DOCKER/inspected" ] && echo 20.10.24 amd64 || { echo "no engine in this fake" >&2; exit 1; } ;;
ps) [ -e "$FAKE_DOCKER/inspected" ] || exit 1; [ -s "$FAKE_DOCKER/inspected" ] && echo some ids; exit 0 ;;
inspect) cat "$FAKE_DOCKER/inspected" ;;
logs) case $* in *--since*) exit 0 ;; esac; for id; do :; done; cat "$FAKE_DOCKER/log-$id" ;;
esac
`
	write := func(name, content string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("docker", script, 0o755)
	if inspected != noEngine {
		write("inspected", inspected, 0o600)
	}
	write("log-id-orders", `2026-03-01T12:00:02Z {"time":"2026-03-01T12:00:02Z","level":"INFO","msg":"second","correlation_id":"c1"}`+"\n", 0o600)
	write("log-id-broker", "2026-03-01T12:00:01Z first, c1\n2026-03-01T12:00:03Z third\n", 0o600)
	t.Setenv("FAKE_DOCKER", folder)
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	return func() string {
		content, _ := os.ReadFile(filepath.Join(folder, "asked"))
		return string(content)
	}
}

const (
	noEngine     = "no engine"
	noContainers = ""
)

func inspected(name, state string) string {
	return fmt.Sprintf(`{"Id":"id-%s","RestartCount":2,"State":%s,"Config":{"Image":"%s:1","Labels":{"com.docker.compose.service":"%s"}},
		"HostConfig":{"RestartPolicy":{"Name":"unless-stopped"}}}`, name, state, name, name)
}

// published is a running gateway that publishes a port at an address of this machine.
func published(address, port string) string {
	ports := fmt.Sprintf(`"NetworkSettings":{"Ports":{"8080/tcp":[{"HostIp":"%s","HostPort":"%s"}]}},"HostConfig"`, address, port)
	return strings.Replace(inspected("gateway", healthy), `"HostConfig"`, ports, 1)
}

const healthy = `{"Status":"running","Pid":4194305,"StartedAt":"2026-03-01T12:00:00Z","Health":{"Status":"healthy"}}`

func TestProcessesInComposeHaveTheSameNames(t *testing.T) {
	withoutPasswords(t)
	composeRepository(t, "STAFF_PASSWORD=x\nCOMPOSE_PROJECT_NAME=mine\nCARAVAN_PORT=8099\n")
	seed := strings.Replace(inspected("seed", `{"Status":"exited","ExitCode":0}`), "unless-stopped", "no", 1)
	asked := fakeDocker(t, "["+inspected("orders", healthy)+","+inspected("broker", healthy)+","+inspected("gateway", healthy)+","+seed+"]")
	for _, test := range []struct{ args, says, asks string }{
		{"status", "orders  ready      4194305         2", "ps --all --quiet --no-trunc --filter label=com.docker.compose.project=mine"},
		{"status", "http://127.0.0.1:8099, broker broker:1, store none, project mine of docker compose", ""},
		{"status", "seed    done", ""},
		{"stop orders", "orders is down.", "stop id-orders\n"},
		{"start orders", "orders is ready.", "start id-orders\n"},
		{"restart broker", "broker is ready again.", "restart id-broker\n"},
	} {
		status, out, stderr := invoke(t, append(strings.Fields(test.args), "--target", "compose")...)
		if status != exitOK || !strings.Contains(out, test.says) || !strings.Contains(asked(), test.asks) {
			t.Errorf("%s: status %d, said %q, %q, asked %q", test.args, status, out, stderr, asked())
		}
	}
}

func TestComposeMistakesAreExplained(t *testing.T) {
	withoutPasswords(t)
	stopped := "[" + inspected("orders", `{"Status":"exited","ExitCode":137}`) + "]"
	for _, test := range []struct{ name, env, docker, args, want string }{
		{"no secrets", "", noContainers, "kill orders", "go run ./dapr secrets"},
		{"no engine", "A=1", noEngine, "stop orders", "no Docker engine answers: no engine in this fake"},
		{"not up", "A=1", noContainers, "status", "docker compose -f compose/compose.yaml up -d"},
		{"misspelt", "A=1", stopped, "stop ordrs", `Did you mean "orders"?`},
		{"logs of nothing", "A=1", stopped, "logs ordrs", `Did you mean "orders"?`},
		{"down", "A=1", stopped, "kill orders", "orders is not running; start it with: go run ./dapr start --target compose orders"},
		{"elsewhere", "A=1", "[" + inspected("orders", healthy) + "]", "kill orders", "is not on this machine"},
	} {
		composeRepository(t, test.env)
		asked := fakeDocker(t, test.docker)
		status, _, stderr := invoke(t, append(strings.Fields(test.args), "--target", "compose")...)
		if status == exitOK || !strings.Contains(stderr, test.want) {
			t.Errorf("%s: status %d, said %q, want %q; asked %q", test.name, status, stderr, test.want, asked())
		}
	}
}

func TestLongNamesKeepTheColumns(t *testing.T) {
	withoutPasswords(t)
	composeRepository(t, "A=1")
	fakeDocker(t, "["+inspected("orders", healthy)+","+inspected("notifications-2-daprd", healthy)+"]")
	_, out, _ := invoke(t, "status", "--target", "compose")
	var columns []int
	for line := range strings.Lines(out) {
		if at := strings.Index(line, " ready "); at >= 0 {
			columns = append(columns, at)
		}
	}
	if len(columns) != 2 || columns[0] != columns[1] || !strings.Contains(out, "PROCESS               STATE") {
		t.Errorf("said %q", out)
	}
}

// noted is a stack that records its calls.
type noted struct {
	processes
	signal syscall.Signal
}

func (n *noted) Kill(_ context.Context, _ string, signal syscall.Signal) error {
	n.signal = signal
	return nil
}

func TestKillNamesTheSignalAndWhereToLook(t *testing.T) {
	for _, test := range []struct {
		target, signal string
		want           syscall.Signal
		says           string
	}{
		{targetCompose, "KILL", syscall.SIGKILL, "was sent SIGKILL. What becomes of it shows: go run ./dapr status --target compose"},
		{"", "stop", syscall.SIGSTOP, "was sent SIGSTOP. What becomes of it shows: go run ./dapr status"},
		{"", "34", 34, "was sent signal 34."},
	} {
		c := &cli{root: "/r", dir: "/r/.dapr"}
		c.options.access.target, c.options.kill.signal = test.target, test.signal
		stack := &noted{}
		did, err := sendSignal(t.Context(), c, stack, "orders")
		if err != nil || stack.signal != test.want || !strings.HasPrefix(did, test.says) {
			t.Errorf("%v: %q, %v", test, did, err)
		}
	}
}

func TestADownContainerIsShownAndCountsAsFailed(t *testing.T) {
	withoutPasswords(t)
	composeRepository(t, "A=1")
	fakeDocker(t, "["+inspected("orders", `{"Status":"exited","ExitCode":137,"FinishedAt":"2026-03-01T12:00:00Z"}`)+"]")
	status, out, _ := invoke(t, "status", "--target", "compose")
	if status != exitFailure || !strings.Contains(out, "stopped") || !strings.Contains(out, "last: exit status 137") {
		t.Errorf("status %d, said %q", status, out)
	}
}

// A process id from the engine may be another process on this machine.
func TestKillSparesProcessesThatAreNoContainers(t *testing.T) {
	withoutPasswords(t)
	composeRepository(t, "A=1")
	bystander := exec.Command("sleep", "60")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = bystander.Process.Kill()
		_ = bystander.Wait()
	}()
	fakeDocker(t, "["+inspected("orders", strings.Replace(healthy, "4194305", fmt.Sprint(bystander.Process.Pid), 1))+"]")
	if status, _, stderr := invoke(t, "kill", "orders", "--target", "compose"); status != exitFailure || !strings.Contains(stderr, "not on this machine") {
		t.Errorf("status %d, said %q", status, stderr)
	}
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the process is gone: %v", err)
	}
}

func TestLogsOfComposeAreThoseOfTheLauncher(t *testing.T) {
	withoutPasswords(t)
	composeRepository(t, "A=1")
	fakeDocker(t, "["+inspected("orders", healthy)+","+inspected("broker", healthy)+"]")
	for _, test := range []struct {
		args string
		want []string
	}{
		{"logs", []string{"broker             | first", "orders             | ", "second", "third"}},
		{"logs --correlation c1", []string{"first", "second"}},
		{"logs orders --level info", []string{"second"}},
		{"logs broker --raw", []string{"first, c1\nthird\n"}},
	} {
		status, out, stderr := invoke(t, append(strings.Fields(test.args), "--target", "compose")...)
		rest := out
		for _, want := range test.want {
			_, after, found := strings.Cut(rest, want)
			if !found {
				t.Errorf("%s: status %d, said %q, %q, want %q", test.args, status, out, stderr, want)
			}
			rest = after
		}
		if strings.Contains(test.args, "c1") && strings.Contains(out, "third") {
			t.Errorf("%s said %q", test.args, out)
		}
	}
}

func TestFollowedLogsGoOnAfterARestart(t *testing.T) {
	withoutPasswords(t)
	composeRepository(t, "A=1")
	asked := fakeDocker(t, "["+inspected("orders", healthy)+"]")
	project, err := (&cli{root: "."}).composeProject()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var following sync.WaitGroup
	var shown []string
	following.Go(func() {
		all := func(launcher.LogLine) bool { return true }
		if err := project.FollowLogs(ctx, "orders", all, func(line launcher.LogLine) { shown = append(shown, line.Message) }); err != nil {
			t.Error(err)
		}
	})
	// The first "docker logs" ends with the process. The next one asks for lines since the last one.
	const again = "logs --timestamps --follow --since 2026-03-01T12:00:02.000000001Z id-orders"
	for ctx.Err() == nil && !strings.Contains(asked(), again) {
		<-time.After(10 * time.Millisecond)
	}
	cancel()
	following.Wait()
	if len(shown) != 1 || !strings.Contains(asked(), again) {
		t.Errorf("it showed %q and asked %q", shown, asked())
	}
}
