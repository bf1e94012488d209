package process

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Memory is how much RAM processes use, in bytes.
type Memory struct {
	RSS int64 `json:"rss"` // resident, shared pages counted in every process
	PSS int64 `json:"pss"` // resident, shared pages divided among the processes that share them
}

// TreeMemory sums the memory of a process and of all that it started. It is zero when they have ended.
func TreeMemory(root int) Memory {
	var sum Memory
	for _, pid := range tree(root) {
		m := processMemory(pid)
		sum.RSS += m.RSS
		sum.PSS += m.PSS
	}
	return sum
}

func processMemory(pid int) Memory {
	var m Memory
	file, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return m
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) < 3 || fields[2] != "kB" {
			continue
		}
		kb, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "Rss:":
			m.RSS = kb << 10
		case "Pss:":
			m.PSS = kb << 10
		}
	}
	return m
}

// tree lists a process and all that it started: its descendants in any group, because each process of PostgreSQL has
// its own, and the members of its group, whose parents may have ended.
func tree(root int) []int {
	const parent, group = 1, 2
	children, members := map[int][]int{}, []int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		f := statFields(stat)
		if len(f) <= group {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(strings.Split(stat, "/")[2])
		ppid, _ := strconv.Atoi(f[parent])
		children[ppid] = append(children[ppid], pid)
		if pid == root || f[group] == strconv.Itoa(root) {
			members = append(members, pid)
		}
	}
	seen := map[int]bool{}
	for i := 0; i < len(members); i++ {
		if seen[members[i]] {
			continue
		}
		seen[members[i]] = true
		members = append(members, children[members[i]]...)
	}
	return slices.Sorted(maps.Keys(seen))
}

// statFields are the fields of a /proc stat file after the command name: state, ppid, pgrp, ... (proc(5)). The command
// name itself may contain spaces and parentheses.
func statFields(path string) []string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	end := strings.LastIndexByte(string(raw), ')')
	if end < 0 {
		return nil
	}
	return strings.Fields(string(raw)[end+1:])
}

// Frozen reports whether a process is stopped by a signal, such as SIGSTOP, until SIGCONT.
func Frozen(pid int) bool {
	f := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	return len(f) > 0 && f[0] == "T"
}

// StartTime identifies the process with a pid: the clock ticks from boot to its start, or "" if there is none. It
// differs when a pid is used again.
func StartTime(pid int) string {
	const startTime = 19 // field 22 of proc(5), counted from the state
	if f := statFields(fmt.Sprintf("/proc/%d/stat", pid)); len(f) > startTime {
		return f[startTime]
	}
	return ""
}
