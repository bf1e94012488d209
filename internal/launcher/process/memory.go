package process

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Memory is what a process group holds in RAM, in bytes.
type Memory struct {
	RSS int64 `json:"rss"` // resident, shared pages counted in every process
	PSS int64 `json:"pss"` // resident, shared pages divided among those who share them
}

// GroupMemory sums the memory of every process in the process group; zero when
// the group is gone.
func GroupMemory(pgid int) Memory {
	var sum Memory
	for _, pid := range groupMembers(pgid) {
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

// GroupCPU sums the processor time every process of the group has used in its
// life; processes of the group that have ended are not counted.
func GroupCPU(pgid int) time.Duration {
	const userTime, systemTime = 11, 12 // fields 14 and 15 of proc(5), counted from the state
	const tick = 10 * time.Millisecond  // USER_HZ is 100 on every architecture Go runs Linux on
	var sum time.Duration
	for _, pid := range groupMembers(pgid) {
		fields := statFields(fmt.Sprintf("/proc/%d/stat", pid))
		if len(fields) <= systemTime {
			continue
		}
		for _, field := range []int{userTime, systemTime} {
			ticks, _ := strconv.ParseInt(fields[field], 10, 64)
			sum += time.Duration(ticks) * tick
		}
	}
	return sum
}

// groupMembers lists the processes of a process group.
func groupMembers(pgid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var members []int
	for _, stat := range stats {
		if f := statFields(stat); len(f) > 2 && f[2] == strconv.Itoa(pgid) {
			pid, _ := strconv.Atoi(strings.Split(stat, "/")[2])
			members = append(members, pid)
		}
	}
	return members
}

// statFields are the fields of a /proc stat file after the command name, which
// may itself hold spaces and parentheses: state, ppid, pgrp, ... (proc(5)).
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

// StartTime identifies one life of a pid: clock ticks since boot at which the
// process started, "" when there is none. Two lives of a reused pid differ.
func StartTime(pid int) string {
	const startTime = 19 // field 22 of proc(5), counted from the state
	if f := statFields(fmt.Sprintf("/proc/%d/stat", pid)); len(f) > startTime {
		return f[startTime]
	}
	return ""
}
