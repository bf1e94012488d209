// Package pods is what tests on a node of test/cluster/run.sh need to see and to break: pods by kubectl, and their
// processes and sockets by the kernel, as the tests run beside them.
package pods

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Namespace is where the manifests put Caravan.
const Namespace = "caravan"

// OnNode reports whether this process runs on a node of test/cluster/run.sh.
func OnNode() bool { return os.Getenv("CLUSTER_STATE") != "" }

// Kubectl runs a command of kubectl with an input and returns what it prints, without spaces around it.
func Kubectl(ctx context.Context, input string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "kubectl", append([]string{"--namespace=" + Namespace}, args...)...)
	command.Stdin = strings.NewReader(input)
	out, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("kubectl %s: %w: %s%s", strings.Join(args, " "), err, out, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// Pod is what tests need to know of a pod.
type Pod struct {
	Metadata struct {
		Name, Namespace   string
		UID               string
		Labels            map[string]string
		DeletionTimestamp string
	}
	Spec struct {
		Containers []struct {
			Name  string
			Ports []struct{ ContainerPort int }
		}
	}
	Status struct {
		PodIP             string
		ContainerStatuses []Container
	}
}

// Container is one container of a pod.
type Container struct {
	Name, ContainerID string
	Ready             bool
	RestartCount      int
}

// Program is the name of what the pod runs.
func (p Pod) Program() string { return p.Metadata.Labels["app.kubernetes.io/name"] }

// Ready reports whether all of the pod's containers are.
func (p Pod) Ready() bool {
	return len(p.Status.ContainerStatuses) > 0 && !slices.ContainsFunc(p.Status.ContainerStatuses, func(c Container) bool { return !c.Ready })
}

// Container is the container of a name; one without a name when the pod has none.
func (p Pod) Container(name string) Container {
	i := slices.IndexFunc(p.Status.ContainerStatuses, func(c Container) bool { return c.Name == name })
	if i < 0 {
		return Container{}
	}
	return p.Status.ContainerStatuses[i]
}

// List returns Caravan's pods of a selector that are not being deleted.
func List(ctx context.Context, selector string) ([]Pod, error) {
	return In(ctx, Namespace, selector)
}

// In returns the pods of a namespace and a selector that are not being deleted.
func In(ctx context.Context, namespace, selector string) ([]Pod, error) {
	out, err := Kubectl(ctx, "", "get", "pods", "--namespace="+namespace, "-l", selector, "-o", "json")
	if err != nil {
		return nil, err
	}
	var list struct{ Items []Pod }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("reading pods: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(p Pod) bool { return p.Metadata.DeletionTimestamp != "" }), nil
}

// ErrNoProcess says that a container does not run.
var ErrNoProcess = errors.New("it has no process")

// Processes are those of the container, as this node numbers them.
func (c Container) Processes() ([]int, error) {
	_, id, _ := strings.Cut(c.ContainerID, "://")
	if id == "" {
		return nil, fmt.Errorf("container %s: %w", c.Name, ErrNoProcess)
	}
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil, fmt.Errorf("looking for the processes of %s: %w", c.Name, err)
	}
	var found []int
	for _, file := range files {
		content, err := os.ReadFile(file) // a process may end meanwhile
		if err != nil || !bytes.Contains(content, []byte(id)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, fmt.Errorf("looking for the processes of %s: %w", c.Name, err)
		}
		found = append(found, pid)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("container %s: %w", c.Name, ErrNoProcess)
	}
	return found, nil
}

// Kill ends the container's processes by SIGKILL, as a crash would.
func (c Container) Kill() error { return c.signal(syscall.SIGKILL) }

// Freeze stops the container's processes by SIGSTOP: they do nothing until they are killed, not even what a SIGTERM asks of
// them.
func (c Container) Freeze() error { return c.signal(syscall.SIGSTOP) }

func (c Container) signal(signal syscall.Signal) error {
	all, err := c.Processes()
	if err != nil {
		return err
	}
	for _, pid := range all {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("sending %s to process %d of %s: %w", signal, pid, c.Name, err)
		}
	}
	return nil
}

// Dial connects to a literal address as a process of the container would: to its loopback, above all.
func (c Container) Dial(ctx context.Context, network, address string) (connection net.Conn, err error) {
	pids, err := c.Processes()
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine, as its network is another's
		var space *os.File
		if space, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", pids[0])); err != nil {
			return
		}
		defer space.Close()
		if err = unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		connection, err = new(net.Dialer).DialContext(ctx, network, address)
	}()
	<-done
	return connection, err
}
