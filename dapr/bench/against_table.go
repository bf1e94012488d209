package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// row is one thing that was measured in each round.
type row struct {
	name        string
	other, this []float64
}

// Show prints the medians of both variants, their ratio, and each round.
func (c *Comparison) Show(out io.Writer) {
	m := c.Machine
	fmt.Fprintf(out, "\n%s, %d processors, %d MB, Linux %s, %s, load before %s\n", m.CPU, m.Processors, m.MemoryMB, m.Kernel, m.Go, m.Load)
	for _, v := range []struct {
		what string
		Variant
	}{{"other", c.Other}, {"this", c.This}} {
		fmt.Fprintf(out, "%-6s %s, revision %s, bench %s; %d runs\n", v.what, v.Name, v.Revision, strings.Join(v.Flags, " "), len(v.Results))
	}
	fmt.Fprintf(out, "\n%-46s %10s %10s %8s   %s\n", "MEDIANS", "OTHER", "THIS", "RATIO", "EACH RUN: OTHER | THIS")
	for _, r := range c.rows() {
		fmt.Fprintf(out, "%-46s %10s %10s %8s   %s | %s\n", r.name, number(median(r.other)), number(median(r.this)), ratio(r), list(r.other), list(r.this))
	}
	fmt.Fprintln(out)
}

// rows are the measurements that at least one variant has.
func (c *Comparison) rows() []row {
	var rows []row
	index := make(map[string]int)
	add := func(this bool, name string, value float64) {
		at, known := index[name]
		if !known {
			at = len(rows)
			index[name] = at
			rows = append(rows, row{name: name})
		}
		if of := &rows[at]; this {
			of.this = append(of.this, value)
		} else {
			of.other = append(of.other, value)
		}
	}
	for _, result := range c.This.Results {
		result.each(func(name string, value float64) { add(true, name, value) })
	}
	for _, result := range c.Other.Results {
		result.each(func(name string, value float64) { add(false, name, value) })
	}
	return rows
}

// each visits what is compared of a result. Results of older revisions have less.
func (r Result) each(visit func(name string, value float64)) {
	some := func(name string, value float64) {
		if value > 0 {
			visit(name, value)
		}
	}
	for _, load := range append(slices.Clone(r.Orders), r.Reads...) {
		name := fmt.Sprintf("%s, %s", load.Name, clientCount(load.Clients))
		some(name+", per s", load.PerSecond)
		some(name+", p50 ms", load.P50)
		some(name+", p99 ms", load.P99)
	}
	some("one order at a time, p50 ms", r.Unloaded.P50)
	for _, p := range r.Processor {
		some("processor time of an order, ms: "+p.Name, p.PerOrder)
	}
	for _, p := range r.Processor {
		if p.Name == "all" {
			some("context switches of an order", p.Switches)
			some("system calls that read or write, of an order", p.Calls)
		}
	}
	for _, size := range r.AfterUse {
		if size.Name == "all" {
			some("memory after load, MB (PSS)", size.PSS)
		}
	}
	some("processors used by others, %", 100*r.Others)
}

// median is the middle value, or the mean of both; 0 if there is none.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func ratio(r row) string {
	if len(r.other) == 0 || len(r.this) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", median(r.this)/median(r.other))
}

func number(value float64) string {
	switch {
	case value == 0:
		return "-"
	case value < 10:
		return fmt.Sprintf("%.2f", value)
	}
	return fmt.Sprintf("%.1f", value)
}

func list(values []float64) string {
	if len(values) == 0 {
		return "-"
	}
	var all []string
	for _, value := range values {
		all = append(all, number(value))
	}
	return strings.Join(all, " ")
}
