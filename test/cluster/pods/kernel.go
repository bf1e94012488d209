package pods

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// loopback is 127.0.0.1 and ::1, as the kernel writes them.
var loopback = []string{"0100007F", "00000000000000000000000001000000"}

// Listeners are the ports on which the pod's processes take connections from other machines.
func (p Pod) Listeners() ([]int, error) {
	pids, err := p.Status.ContainerStatuses[0].Processes()
	if err != nil {
		return nil, err
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

// Memory is the working set of each container of the pod in MiB, as the kernel counts it for its cgroup.
func (p Pod) Memory() (map[string]int, error) {
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
