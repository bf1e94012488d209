package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Work is what processes have done since their start.
type Work struct {
	CPU      time.Duration `json:"cpu"`      // processor time, in nanoseconds
	Switches int64         `json:"switches"` // times that a thread gave up its processor, or lost it
	Calls    int64         `json:"calls"`    // system calls that read or write files, pipes and sockets
}

// TreeWork sums the work of a process and of all that it started. It does not count processes and threads that have ended.
func TreeWork(root int) Work {
	var sum Work
	for _, pid := range tree(root) {
		sum.CPU += processorTime(pid)
		for name, n := range numbers(fmt.Sprintf("/proc/%d/io", pid)) { // proc_pid_io(5)
			if name == "syscr" || name == "syscw" {
				sum.Calls += n
			}
		}
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/status", pid))
		for _, thread := range threads { // proc_pid_status(5)
			for name, n := range numbers(thread) {
				if strings.HasSuffix(name, "voluntary_ctxt_switches") {
					sum.Switches += n
				}
			}
		}
	}
	return sum
}

func processorTime(pid int) time.Duration {
	const userTime, systemTime = 11, 12 // fields 14 and 15 of proc(5), counted from the state
	const tick = 10 * time.Millisecond  // USER_HZ is 100 on every architecture Go runs Linux on
	var sum time.Duration
	fields := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	if len(fields) <= systemTime {
		return 0
	}
	for _, field := range []int{userTime, systemTime} {
		ticks, _ := strconv.ParseInt(fields[field], 10, 64)
		sum += time.Duration(ticks) * tick
	}
	return sum
}

// numbers are the lines "name: number" of a file of /proc.
func numbers(path string) map[string]int64 {
	raw, _ := os.ReadFile(path)
	found := make(map[string]int64)
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(line, ":")
		if n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64); err == nil {
			found[name] = n
		}
	}
	return found
}
