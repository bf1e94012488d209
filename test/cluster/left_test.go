package cluster

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// waitLimit limits how long a node may take to start or to end.
const waitLimit = 5 * time.Minute

// aPod runs a pod on the node and prints a line.
const aPod = `kubectl run pod --image=localhost/pause:1 --image-pull-policy=Never >/dev/null
until kubectl wait --for=condition=Ready pod/pod --timeout=5s >/dev/null 2>&1; do sleep 0.2; done; echo up; `

// needsNode skips the test if no node can run, or if it was not built; prove.sh builds it.
func needsNode(t *testing.T) {
	t.Helper()
	out, err := exec.Command("./run.sh", "--check").CombinedOutput()
	if err != nil {
		t.Skipf("%s", bytes.TrimSpace(out))
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	command := exec.Command("./run.sh", "--check")
	command.Env = append(os.Environ(), "CLUSTER_BIN=/nowhere")
	out, err := command.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "/nowhere/kubelet (test/cluster/kit/build.sh /nowhere)") {
		t.Errorf("without the node's programs: %v: %s", err, out)
	}
	if os.Geteuid() != 0 {
		if command.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "  root\n") {
			t.Errorf("without root: %v: %s", err, out)
		}
	}
}

func TestNodeLeavesNothing(t *testing.T) {
	needsNode(t)
	before := machine(t)
	for name, run := range map[string]func(*testing.T){
		"its command ends": func(t *testing.T) {
			out, err := exec.Command("./run.sh", "sh", "-c", aPod+"exit 7").CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 7 || !bytes.Contains(out, []byte("\nup\n")) {
				t.Errorf("%v: %s", err, out)
			}
		},
		"it cannot start": func(t *testing.T) {
			command := exec.Command("./run.sh", "true")
			command.Env = append(os.Environ(), "CLUSTER_BIN="+withoutEtcd(t))
			out, err := command.CombinedOutput()
			if err == nil || !bytes.Contains(out, []byte("etcd has ended")) {
				t.Errorf("%v: %s", err, out)
			}
		},
		"it is killed": func(t *testing.T) {
			command := exec.Command("./run.sh", "sh", "-c", aPod+"exec sleep 1000")
			command.Stderr = os.Stderr
			out, err := command.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if line != "up\n" || err != nil {
				t.Errorf("the node says %q, %v", line, err)
			}
			if during := machine(t); slices.Equal(during, before) {
				t.Error("the running node does not show: the test sees nothing")
			}
			if err := command.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = command.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t)
			var more []string
			for end := time.Now().Add(waitLimit); ; time.Sleep(100 * time.Millisecond) {
				more = slices.DeleteFunc(machine(t), func(line string) bool { return slices.Contains(before, line) })
				if len(more) == 0 || time.Now().After(end) {
					break
				}
			}
			for _, line := range more {
				t.Error("left behind:", line)
			}
		})
	}
}

// withoutEtcd returns a folder with the node's programs in which etcd exits immediately.
func withoutEtcd(t *testing.T) string {
	bin := programs(t)
	folder := filepath.Join(t.TempDir(), "bin")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range entries {
		target := filepath.Join(bin, program.Name())
		if program.Name() == "etcd" {
			target = "/bin/false"
		}
		if err := os.Symlink(target, filepath.Join(folder, program.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// programs returns the folder of the node's programs.
func programs(t *testing.T) string {
	t.Helper()
	bin, err := filepath.Abs(cmp.Or(os.Getenv("CLUSTER_BIN"), "../../.dapr/cluster/bin"))
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

var (
	packetCounters = regexp.MustCompile(`\[\d+:\d+\]`)
	// A Docker engine may change these meanwhile: its mounts, and rules of its chains, networks and ports.
	dockers = regexp.MustCompile(`/docker/|DOCKER|docker0|br-[0-9a-f]{12}|-s \S+ -d \S+ .*-j MASQUERADE`)
)

// machine lists what a node could leave behind, one item a line.
func machine(t *testing.T) []string {
	t.Helper()
	var lines []string
	add := func(kind, what string) {
		if !dockers.MatchString(what) {
			lines = append(lines, kind+" "+what)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		add("mount", strings.TrimSpace(line))
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		// A node creates no bridge with ports.
		if _, err := os.Lstat("/sys/class/net/" + i.Name + "/master"); err != nil {
			add("interface", i.Name)
		}
	}
	for _, table := range []string{"iptables-save", "ip6tables-save"} {
		rules, _ := exec.Command(table).Output() // a kernel may not have all of them
		for line := range strings.Lines(string(rules)) {
			if !strings.HasPrefix(line, "#") {
				add(table, packetCounters.ReplaceAllString(strings.TrimSpace(line), ""))
			}
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*/caravan-node.*", "/sys/fs/cgroup/caravan-node.*", "/var/lib/*", "/var/log/*", "/run/*", "/etc/cni/*", os.Getenv("HOME") + "/.kube/*", programs(t) + "/../node.*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			add("file", path)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range processes {
		// A process may end meanwhile. Then it has no environment.
		environ, _ := os.ReadFile(process + "/environ")
		cgroup, _ := os.ReadFile(process + "/cgroup")
		if bytes.Contains(environ, []byte("CLUSTER_STATE=")) || bytes.Contains(cgroup, []byte("caravan-node.")) {
			command, _ := os.ReadFile(process + "/cmdline")
			add("process", fmt.Sprintf("%s %q", process, command))
		}
	}
	return lines
}
