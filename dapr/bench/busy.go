package bench

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// busy is how long the machine's processors, and this program, have worked.
type busy struct {
	all   time.Duration // of all processors, idle or not
	work  time.Duration // of all processors
	bench time.Duration // of this program
}

// measureBusy reads the times of the processors (proc_stat(5)).
func measureBusy() (b busy) {
	const idle, wait, last = 3, 4, 7 // of the fields user, nice, system, idle, iowait, irq, softirq, steal
	const tick = 10 * time.Millisecond
	raw, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(raw), "\n")
	fields := strings.Fields(line)
	for i, field := range fields[min(1, len(fields)):] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil || i > last {
			break
		}
		b.all += time.Duration(ticks) * tick
		if i != idle && i != wait {
			b.work += time.Duration(ticks) * tick
		}
	}
	var self syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &self) == nil {
		b.bench = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	}
	return b
}

// others is the share of the processors that neither this program nor the stack used since an earlier time, from 0 to 1. It is 0 if the
// processes of the stack are unknown.
func (b busy) others(since busy, stack time.Duration) float64 {
	all := b.all - since.all
	if all <= 0 || stack <= 0 {
		return 0
	}
	rest := (b.work - since.work) - (b.bench - since.bench) - stack
	return min(1, max(0, float64(rest)/float64(all)))
}
