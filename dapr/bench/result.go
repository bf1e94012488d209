package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Setting says when and on what was measured.
type Setting struct {
	Date    time.Time `json:"date"`
	Machine Machine   `json:"machine"`
	Broker  string    `json:"broker"`
	Store   string    `json:"store"`
}

// settingOf is the setting of a measurement that begins now.
func settingOf(ctx context.Context, root string, stack Target) Setting {
	return Setting{Date: time.Now().UTC(), Machine: thisMachine(ctx, root), Broker: stack.Broker, Store: stack.Store}
}

// show prints the setting in one line.
func (s Setting) show(out io.Writer) {
	m := s.Machine
	fmt.Fprintf(out, "\n%s and %s on %s, %d processors, %d MB, Linux %s, %s, revision %s, load before %s\n",
		s.Broker, s.Store, m.CPU, m.Processors, m.MemoryMB, m.Kernel, m.Go, m.Revision, m.Load)
}

// Result has the measurements of one run of the benchmark.
type Result struct {
	Setting
	// Messages says what users got about their orders, and Pushed is how many push messages came.
	Messages string `json:"messages,omitempty"`
	Pushed   int64  `json:"pushed,omitempty"`

	Orders   []Load   `json:"orders"`
	Reads    []Load   `json:"reads"`
	Unloaded Unloaded `json:"unloaded"`
	// Processor is the processor time of one order in every process, at the greatest number of clients. Unlike rates,
	// it hardly depends on other work of the machine.
	Processor []ProcessTime `json:"processor"`
	// Others is the share of the processors that neither the stack nor the benchmark used during the load of Processor, from 0 to 1. It
	// says how far to trust rates.
	Others   float64       `json:"others"`
	AtRest   []ProcessSize `json:"memoryAtRest"`
	AfterUse []ProcessSize `json:"memoryAfterLoad"`
}

// Machine describes the machine.
type Machine struct {
	CPU        string `json:"cpu"`
	Processors int    `json:"processors"`
	MemoryMB   int64  `json:"memoryMB"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	Revision   string `json:"revision"`
	Load       string `json:"loadBefore"` // the load averages before the benchmark
}

// Load is the result of one load: how much was done, and how long it took.
type Load struct {
	Name      string         `json:"name"`
	Clients   int            `json:"clients"`
	Seconds   float64        `json:"seconds"`
	Done      int64          `json:"done"`
	PerSecond float64        `json:"perSecond"`
	P50       float64        `json:"p50ms"`
	P99       float64        `json:"p99ms"`
	Worst     float64        `json:"worstms"`
	Outcomes  map[string]int `json:"outcomes"`
}

// Unloaded is the result for one order at a time: the parts of its time.
type Unloaded struct {
	Orders   int     `json:"orders"`
	P50      float64 `json:"p50ms"`
	P99      float64 `json:"p99ms"`
	Timeline []Span  `json:"timeline"` // since placement, from the order's timeline
	Hops     []Span  `json:"hops"`     // the requests of each order, from the services' logs
}

// Span is the median duration of a step.
type Span struct {
	Name   string  `json:"name"`
	Median float64 `json:"medianms"`
	Calls  float64 `json:"calls"` // per order
}

// ProcessTime is the processor time of a process for one order, and how often it asked the kernel for something.
type ProcessTime struct {
	Name     string  `json:"name"`
	PerOrder float64 `json:"msPerOrder"`
	Switches float64 `json:"switchesPerOrder"` // times that a thread gave up its processor, or lost it
	Calls    float64 `json:"callsPerOrder"`    // system calls that read or write
}

// ProcessSize is the memory of a process and its descendants, in MB.
type ProcessSize struct {
	Name string  `json:"name"`
	RSS  float64 `json:"rssMB"`
	PSS  float64 `json:"pssMB"`
}

// Keep writes the result to each of the files.
func (r Result) Keep(files ...string) error { return keep(r, files) }

func keep(result any, files []string) error {
	raw, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return fmt.Errorf("keeping the result: %w", err)
	}
	for _, file := range files {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("keeping the result: %w", err)
		}
		if err := os.WriteFile(file, append(raw, '\n'), 0o644); err != nil {
			return fmt.Errorf("keeping the result: %w", err)
		}
	}
	return nil
}

// FileName returns a file name for the result with its date, broker and store.
func (r Result) FileName() string {
	return fileName(r.Date, r.Broker, r.Store)
}

func fileName(date time.Time, names ...string) string {
	return strings.ReplaceAll(date.Format("20060102-150405")+"-"+strings.Join(names, "-")+".json", " ", "-")
}

// Read reads a result that Keep wrote.
func Read(file string) (*Result, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the result to compare with: %w", err)
	}
	var result Result
	if err := json.Unmarshal(raw, &result); err != nil {
		return nil, fmt.Errorf("%s is not a result of bench: %w", file, err)
	}
	return &result, nil
}

// thisMachine describes the machine, and the revision of the repository at root.
func thisMachine(ctx context.Context, root string) Machine {
	m := Machine{Processors: runtime.NumCPU(), Go: runtime.Version(), Load: loadAverage()}
	m.CPU = fieldOf("/proc/cpuinfo", "model name")
	kb, _ := strconv.ParseInt(strings.TrimSuffix(fieldOf("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	m.MemoryMB = kb >> 10
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	revision := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD")
	revision.Dir = root
	if output, err := revision.Output(); err == nil {
		m.Revision = strings.TrimSpace(string(output))
	}
	return m
}

// fieldOf returns the value after "name:" in a file of /proc.
func fieldOf(file, name string) string {
	raw, _ := os.ReadFile(file)
	for line := range strings.Lines(string(raw)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func loadAverage() string {
	raw, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(raw))
	return strings.Join(fields[:min(3, len(fields))], " ")
}
