package shop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// pod is what tests need to know of a pod.
type pod struct {
	Metadata struct {
		Name, UID         string
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
		ContainerStatuses []container
	}
}

// container is one container of a pod.
type container struct {
	Name, ContainerID string
	Ready             bool
	RestartCount      int
}

// program is the name of what the pod runs.
func (p pod) program() string { return p.Metadata.Labels["app.kubernetes.io/name"] }

// ready reports whether all of the pod's containers are.
func (p pod) ready() bool {
	return len(p.Status.ContainerStatuses) > 0 && !slices.ContainsFunc(p.Status.ContainerStatuses, func(c container) bool { return !c.Ready })
}

// container is the container of a name.
func (p pod) container(name string) container {
	i := slices.IndexFunc(p.Status.ContainerStatuses, func(c container) bool { return c.Name == name })
	if i < 0 {
		return container{}
	}
	return p.Status.ContainerStatuses[i]
}

// pods are those of a selector that are not being deleted.
func pods(selector string) ([]pod, error) {
	out, err := kubectl("get", "pods", "-l", selector, "-o", "json")
	if err != nil {
		return nil, err
	}
	var list struct{ Items []pod }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("reading pods: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(p pod) bool { return p.Metadata.DeletionTimestamp != "" }), nil
}

// onePod is the only pod of a program.
func onePod(t *testing.T, program string) pod {
	t.Helper()
	found, err := pods("app.kubernetes.io/name=" + program)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 {
		t.Fatalf("%d pods of %s, want one", len(found), program)
	}
	return found[0]
}

// processes are those of a container, as this node numbers them.
func processes(c container) ([]int, error) {
	_, id, _ := strings.Cut(c.ContainerID, "://")
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil || id == "" {
		return nil, fmt.Errorf("looking for the processes of %q: %w", c.ContainerID, err)
	}
	var found []int
	for _, file := range files {
		content, err := os.ReadFile(file) // a process may end meanwhile
		if err != nil || !bytes.Contains(content, []byte(id)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		found = append(found, pid)
	}
	return found, nil
}

// kill ends the processes of a pod's container as a crash would, and waits until the container runs and is ready again.
func kill(t *testing.T, p pod, name string) {
	t.Helper()
	was := p.container(name)
	all, err := processes(was)
	if err != nil || len(all) == 0 {
		t.Fatalf("%s of %s has the processes %v: %v", name, p.Metadata.Name, all, err)
	}
	for _, pid := range all {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			t.Fatal(err)
		}
	}
	eventually(t, name+" of "+p.Metadata.Name+" to be restarted", func() error {
		found, err := pods("app.kubernetes.io/name=" + p.program())
		if err != nil {
			return err
		}
		i := slices.IndexFunc(found, func(now pod) bool { return now.Metadata.UID == p.Metadata.UID })
		if i < 0 || found[i].container(name).RestartCount <= was.RestartCount || !found[i].ready() {
			return fmt.Errorf("pods: %+v", found)
		}
		return nil
	})
}

// loopback is 127.0.0.1 and ::1, as the kernel writes them.
var loopback = []string{"0100007F", "00000000000000000000000001000000"}

// listeners are the ports on which a pod's processes take connections from other machines.
func listeners(p pod) ([]int, error) {
	pids, err := processes(p.Status.ContainerStatuses[0])
	if err != nil || len(pids) == 0 {
		return nil, fmt.Errorf("the processes of %s: %v, %w", p.Metadata.Name, pids, err)
	}
	var ports []int
	for _, table := range []string{"tcp", "tcp6"} {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pids[0], table))
		if err != nil {
			return nil, fmt.Errorf("reading the sockets of %s: %w", p.Metadata.Name, err)
		}
		for line := range strings.Lines(string(content)) {
			fields := strings.Fields(line) // number, local address, remote address, state; 0A is listening
			if len(fields) < 4 || fields[3] != "0A" || slices.Contains(loopback, strings.Split(fields[1], ":")[0]) {
				continue
			}
			_, hexadecimal, _ := strings.Cut(fields[1], ":")
			port, err := strconv.ParseUint(hexadecimal, 16, 16)
			if err != nil {
				return nil, fmt.Errorf("reading the sockets of %s: %w", p.Metadata.Name, err)
			}
			ports = append(ports, int(port))
		}
	}
	return ports, nil
}

// memory is the working set of each container of a pod in MiB, as the kernel counts it for its cgroup.
func memory(p pod) (map[string]int, error) {
	used := map[string]int{}
	for _, c := range p.Status.ContainerStatuses {
		_, id, _ := strings.Cut(c.ContainerID, "://")
		for _, pattern := range []string{"/sys/fs/cgroup/memory/*/kubepods/*/*/", "/sys/fs/cgroup/memory/*/kubepods/*/"} {
			folders, _ := filepath.Glob(pattern + id)
			for _, folder := range folders {
				usage, err := os.ReadFile(filepath.Join(folder, "memory.usage_in_bytes"))
				if err != nil {
					return nil, fmt.Errorf("reading the memory of %s: %w", p.Metadata.Name, err)
				}
				stat, err := os.ReadFile(filepath.Join(folder, "memory.stat"))
				if err != nil {
					return nil, fmt.Errorf("reading the memory of %s: %w", p.Metadata.Name, err)
				}
				bytes, _ := strconv.Atoi(strings.TrimSpace(string(usage)))
				for line := range strings.Lines(string(stat)) {
					if value, ok := strings.CutPrefix(line, "total_inactive_file "); ok {
						inactive, _ := strconv.Atoi(strings.TrimSpace(value))
						bytes -= inactive
					}
				}
				used[c.Name] = bytes >> 20
			}
		}
	}
	return used, nil
}
