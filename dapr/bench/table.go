package bench

import (
	"fmt"
	"io"
	"strings"
)

// table prints results.
type table struct{ out io.Writer }

// Show prints the result as a table, beside an earlier one if before is not nil.
func (r Result) Show(out io.Writer, before *Result) {
	t := table{out}
	r.Setting.show(out)
	if before != nil {
		fmt.Fprintf(out, "beside %s and %s of %s, revision %s\n", before.Broker, before.Store, before.Date.Format("2006-01-02 15:04"), before.Machine.Revision)
	}
	fmt.Fprintf(out, "\n%-34s %8s %10s %9s %9s %9s  %s\n", "LOAD", "CLIENTS", "PER S", "P50 MS", "P99 MS", "WORST", "")
	for _, load := range append(r.Orders, r.Reads...) {
		fmt.Fprintf(out, "%-34s %8d %10.1f %9.2f %9.2f %9.1f  %s%s\n", load.Name, load.Clients, load.PerSecond, load.P50, load.P99, load.Worst,
			outcomes(load), besideLoad(load, before))
	}
	t.showUnloaded(r.Unloaded, before)
	if r.Pushed > 0 {
		fmt.Fprintf(out, "\nPush messages: %d\n", r.Pushed)
	}
	t.showProcessor(r, before)
	t.showMemory(r, before)
}

func outcomes(load Load) string {
	var all []string
	for _, name := range sortedKeys(load.Outcomes) {
		all = append(all, fmt.Sprintf("%s %d", name, load.Outcomes[name]))
	}
	return strings.Join(all, ", ")
}

func besideLoad(load Load, before *Result) string {
	if before == nil {
		return ""
	}
	for _, old := range append(before.Orders, before.Reads...) {
		if old.Name == load.Name && old.Clients == load.Clients && old.PerSecond > 0 {
			return fmt.Sprintf("  (was %.1f/s, now %.2fx; p50 was %.2f, p99 %.2f)", old.PerSecond, load.PerSecond/old.PerSecond, old.P50, old.P99)
		}
	}
	return ""
}

func (t table) showUnloaded(u Unloaded, before *Result) {
	fmt.Fprintf(t.out, "\nOne order at a time (%d): p50 %.1f ms, p99 %.1f ms from POST to the customer seeing its end", u.Orders, u.P50, u.P99)
	if before != nil {
		fmt.Fprintf(t.out, " (was %.1f, %.1f)", before.Unloaded.P50, before.Unloaded.P99)
	}
	fmt.Fprintf(t.out, "\n\n%-54s %10s\n", "STEP, SINCE PLACEMENT", "MEDIAN MS")
	for _, span := range u.Timeline {
		fmt.Fprintf(t.out, "%-54s %10.2f\n", span.Name, span.Median)
	}
	fmt.Fprintf(t.out, "\n%-54s %10s %8s\n", "REQUEST CAUSED BY ONE ORDER", "MEDIAN MS", "CALLS")
	for _, span := range u.Hops {
		fmt.Fprintf(t.out, "%-54s %10.2f %8.1f\n", span.Name, span.Median, span.Calls)
	}
}

func (t table) showProcessor(result Result, before *Result) {
	old := map[string]float64{}
	if before != nil {
		for _, p := range before.Processor {
			old[p.Name] = p.PerOrder
		}
	}
	fmt.Fprintf(t.out, "\n%-54s %10s\n", "PROCESSOR TIME OF ONE ORDER"+withMessages(result.Messages)+", AT MOST CLIENTS", "MS")
	for _, p := range result.Processor {
		beside := ""
		if was, ok := old[p.Name]; ok {
			beside = fmt.Sprintf("  (was %.2f)", was)
		}
		fmt.Fprintf(t.out, "%-54s %10.2f%s\n", p.Name, p.PerOrder, beside)
	}
}

func withMessages(messages string) string {
	if messages == "" { // a result of an earlier version
		return ""
	}
	return ", MESSAGES: " + messages
}

func (t table) showMemory(result Result, before *Result) {
	fmt.Fprintf(t.out, "\n%-24s %12s %12s %12s %12s\n", "MEMORY, MB", "REST RSS", "REST PSS", "USED RSS", "USED PSS")
	after := map[string]ProcessSize{}
	for _, size := range result.AfterUse {
		after[size.Name] = size
	}
	for _, size := range result.AtRest {
		fmt.Fprintf(t.out, "%-24s %12.1f %12.1f %12.1f %12.1f\n", size.Name, size.RSS, size.PSS, after[size.Name].RSS, after[size.Name].PSS)
	}
	if before != nil && len(before.AtRest) > 0 {
		old := before.AtRest[len(before.AtRest)-1]
		fmt.Fprintf(t.out, "%-24s %12.1f %12.1f\n", "all, before", old.RSS, old.PSS)
	}
	fmt.Fprintln(t.out)
}
