package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// StreamsResult has the measurements of event streams.
type StreamsResult struct {
	Setting

	Asked      int     `json:"streams"`
	OpenAtOnce int     `json:"openAtOnce"`
	OpenedIn   float64 `json:"openedInSeconds"`
	// Resumed counts connections that ended and were opened again where they were.
	Resumed int `json:"resumed"`

	Rate            float64        `json:"rate"`
	PlacedPerSecond float64        `json:"placedPerSecond"`
	Orders          int            `json:"orders"`
	Outcomes        map[string]int `json:"outcomes"` // of placing

	Statuses      int `json:"statuses"`
	Notifications int `json:"notifications"`
	// MissingStatuses are published statuses of the orders that did not come. MissingResumed are those of them on streams that were
	// interrupted, where they are not sent again. Unknown are statuses that the orders do not have.
	MissingStatuses      int `json:"missingStatuses"`
	MissingResumed       int `json:"missingStatusesOfResumed"`
	MissingNotifications int `json:"missingNotifications"`
	OutOfOrder           int `json:"outOfOrder"`
	Unknown              int `json:"unknownStatuses"`

	// Confirmed is how many orders the times are of: from the time of the confirmation, in the order, to its event.
	Confirmed int     `json:"confirmed"`
	P50       float64 `json:"p50ms"`
	P95       float64 `json:"p95ms"`
	P99       float64 `json:"p99ms"`
	Worst     float64 `json:"worstms"`

	// Before and With are the memory before the streams were opened, and while they were open.
	Before []ProcessSize `json:"memoryBefore"`
	With   []ProcessSize `json:"memoryWithStreams"`
	// Interrupted says that the measurement was ended early.
	Interrupted bool `json:"interrupted,omitempty"`

	delays []time.Duration
}

// Keep writes the result to each of the files.
func (r StreamsResult) Keep(files ...string) error { return keep(r, files) }

// FileName returns a file name for the result with its date, broker and store.
func (r StreamsResult) FileName() string { return fileName(r.Date, r.Broker, r.Store, "streams") }

// Show prints the result.
func (r StreamsResult) Show(out io.Writer) {
	r.Setting.show(out)
	fmt.Fprintln(out)
	if r.Interrupted {
		fmt.Fprint(out, "INTERRUPTED: the last events were not awaited.\n\n")
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-34s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("streams open at once", "%d of %d, opened in %.1f s", r.OpenAtOnce, r.Asked, r.OpenedIn)
	line("connections resumed", "%d", r.Resumed)
	line("orders", "%d, at %.1f/s of %.1f/s%s", r.Orders, r.PlacedPerSecond, r.Rate, failures(r.Outcomes))
	line("events received", "%d statuses, %d notifications", r.Statuses, r.Notifications)
	line("events missing", "%d statuses (%d of them on resumed streams), %d notifications", r.MissingStatuses, r.MissingResumed, r.MissingNotifications)
	line("events out of order", "%d", r.OutOfOrder)
	line("statuses that no order has", "%d", r.Unknown)
	line("from confirmation to event", "p50 %.1f ms, p95 %.1f ms, p99 %.1f ms, worst %.1f ms (%d orders)", r.P50, r.P95, r.P99, r.Worst, r.Confirmed)
	r.showMemory(out)
}

// failures names what prevented orders from being placed.
func failures(outcomes map[string]int) string {
	var all strings.Builder
	for _, name := range sortedKeys(outcomes) {
		if name != "accepted" {
			fmt.Fprintf(&all, ", %s %d", name, outcomes[name])
		}
	}
	return all.String()
}

func (r StreamsResult) showMemory(out io.Writer) {
	if len(r.With) <= 1 { // it is unknown
		return
	}
	before := map[string]ProcessSize{}
	for _, size := range r.Before {
		before[size.Name] = size
	}
	fmt.Fprintf(out, "\n%-34s %12s %12s %14s\n", "MEMORY, MB RESIDENT", "BEFORE", "WITH STREAMS", "KB PER STREAM")
	for _, size := range r.With {
		was := before[size.Name].RSS
		fmt.Fprintf(out, "%-34s %12.1f %12.1f %14.1f\n", size.Name, was, size.RSS, (size.RSS-was)*1024/float64(max(r.Asked, 1)))
	}
	fmt.Fprintln(out)
}
