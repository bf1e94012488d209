package harness

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"caravan/dapr/client"
)

// Report is what a run did and found.
type Report struct {
	Campaign string    `json:"campaign"`
	Seed     uint64    `json:"seed"`
	Date     time.Time `json:"date"`
	Machine  string    `json:"machine"`
	Broker   string    `json:"broker"`
	Store    string    `json:"store"`
	Where    string    `json:"where,omitempty"` // the stack runs elsewhere, and nothing was broken
	Seconds  float64   `json:"seconds"`         // of load and faults, without start and checks
	Command  string    `json:"command"`         // repeats the run
	Notices  []string  `json:"notices,omitempty"`

	Schedule []Event        `json:"schedule"`
	Faults   []Fired        `json:"faults"`
	Kills    map[string]int `json:"kills"`

	Orders   map[string]int `json:"orders"` // by their status at the end, and "acknowledged"
	Requests Requests       `json:"requests"`
	// PlacedToEnd is from the request to the order's end, in seconds.
	PlacedToEnd Times `json:"placedToEnd"`
	// AfterLastFault is how long each order that had not ended took to end, from the end of the last fault or from its
	// request, if that was later.
	AfterLastFault Times `json:"afterLastFault"`
	// ReadyAgain is how long processes took to be ready after a kill.
	ReadyAgain Times `json:"readyAgain"`

	Numbers    map[string]float64 `json:"numbers,omitempty"` // additional counts of the campaign
	Audit      map[string]int64   `json:"audit"`
	Violations []Violation        `json:"violations"`
	Interrupt  bool               `json:"interrupted,omitempty"` // the user ended it before its size was reached
	Passed     bool               `json:"passed"`
}

// Requests counts the clients' requests.
type Requests struct {
	Operations int            `json:"operations"`
	Attempts   int            `json:"attempts"`
	Retries    int            `json:"retries"`
	Failed     int            `json:"failed"` // attempts that failed without a refusal
	Unanswered int            `json:"unanswered"`
	Refused    int            `json:"refused"`
	Failures   map[string]int `json:"failures"` // by kind and status
}

// Times describes durations in seconds.
type Times struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

func timesOf(durations []time.Duration) Times {
	if len(durations) == 0 {
		return Times{}
	}
	slices.Sort(durations)
	at := func(q float64) float64 {
		return durations[min(len(durations)-1, int(q*float64(len(durations))))].Seconds()
	}
	return Times{Count: len(durations), P50: at(0.5), P99: at(0.99), Max: durations[len(durations)-1].Seconds()}
}

// String returns the times as a part of a line.
func (t Times) String() string {
	if t.Count == 0 {
		return "none"
	}
	return fmt.Sprintf("p50 %.2f s, p99 %.2f s, max %.2f s (of %d)", t.P50, t.P99, t.Max, t.Count)
}

// countRequests summarises a log of operations.
func countRequests(ops []*Op) Requests {
	r := Requests{Failures: make(map[string]int)}
	for _, op := range ops {
		op.mu.Lock()
		r.Operations++
		r.Attempts += len(op.Attempts)
		r.Retries += max(0, len(op.Attempts)-1)
		for _, a := range op.Attempts {
			if a.Error != "" && (a.Status < 400 || a.Status >= 500 || a.Status == 429) {
				r.Failed++
				r.Failures[fmt.Sprintf("%s: %s", op.Kind, failureName(a))]++
			}
		}
		switch op.Outcome {
		case Unknown:
			r.Unanswered++
		case Refused:
			r.Refused++
		}
		op.mu.Unlock()
	}
	return r
}

func failureName(a Attempt) string {
	if a.Status == 0 {
		return "no answer"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.Status, a.Slug))
}

// endOf is when an order ended.
func endOf(order client.Order) time.Time {
	for _, moment := range order.Timeline {
		switch moment.Type {
		case "confirmed", "rejected", "cancelled":
			return moment.Time
		}
	}
	return order.UpdatedAt
}

// countOrders sets how orders ended and how long they took.
func (r *Report) countOrders(ops []*Op, ended map[string]client.Order, healed time.Time) {
	r.Orders = map[string]int{"acknowledged": 0}
	var whole, after []time.Duration
	for _, op := range ops {
		for _, id := range op.answers() {
			r.Orders["acknowledged"]++
			order, ok := ended[id]
			if !ok {
				r.Orders["without end"]++
				continue
			}
			r.Orders[string(order.Status)]++
			end := endOf(order)
			whole = append(whole, max(0, end.Sub(op.Begun)))
			if end.After(healed) {
				from := healed
				if order.PlacedAt.After(from) {
					from = order.PlacedAt
				}
				after = append(after, max(0, end.Sub(from)))
			}
		}
	}
	r.PlacedToEnd, r.AfterLastFault = timesOf(whole), timesOf(after)
}

// countFaults sets which faults there were.
func (r *Report) countFaults(fired []Fired) (healed time.Time) {
	r.Faults, r.Kills = fired, killsOf(fired)
	var ready []time.Duration
	for _, f := range fired {
		if f.Ready > 0 {
			ready = append(ready, time.Duration(f.Ready*float64(time.Second)))
		}
		if f.Healed.After(healed) {
			healed = f.Healed
		}
	}
	r.ReadyAgain = timesOf(ready)
	return healed
}

// machine describes the machine of the run.
func machine() string {
	return fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

// killed is the number of kills.
func (r *Report) killed() int {
	sum := 0
	for _, n := range r.Kills {
		sum += n
	}
	return sum
}

// place is the system of the run.
func (r *Report) place() string {
	if r.Where != "" {
		return r.Where
	}
	return r.Broker + " and " + r.Store
}

// Line is the result in one line.
func (r *Report) Line() string {
	verdict := "PASSED"
	if !r.Passed {
		verdict = "FAILED"
	}
	line := fmt.Sprintf("%s %s, seed %d, %s: %d orders, ", verdict, r.Campaign, r.Seed, r.place(), r.Orders["acknowledged"])
	if r.Where == "" {
		line += fmt.Sprintf("%d faults, %d kills, ", len(r.Faults), r.killed())
	}
	line += fmt.Sprintf("%d violations", len(r.Violations))
	for _, name := range slices.Sorted(maps.Keys(r.Numbers)) {
		line += fmt.Sprintf(", %s %v", name, round(r.Numbers[name]))
	}
	return line
}

func round(f float64) float64 { return float64(int64(f*1000+0.5)) / 1000 }

// mostViolations is how many violations the text shows. The JSON has all.
const mostViolations = 20

// Text writes the report for a person.
func (r *Report) Text(w io.Writer) {
	where := r.Where
	if where == "" {
		where = fmt.Sprintf("broker %s, store %s", r.Broker, r.Store)
	}
	fmt.Fprintf(w, "\nCampaign %s, seed %d, %s, %s, %s\n", r.Campaign, r.Seed, r.Date.Format(time.RFC3339), where, r.Machine)
	for _, notice := range r.Notices {
		fmt.Fprintf(w, "  Notice: %s\n", notice)
	}
	took := time.Duration(r.Seconds * float64(time.Second)).Round(time.Second)
	if r.Where == "" {
		fmt.Fprintf(w, "  Load and faults for %s; %d of %d scheduled faults\n", took, len(r.Faults), len(r.Schedule))
	} else {
		fmt.Fprintf(w, "  Load for %s\n", took)
	}
	r.faultsText(w)
	fmt.Fprintf(w, "  Orders: %s\n", counts(r.Orders))
	q := r.Requests
	fmt.Fprintf(w, "  Requests: %d operations, %d attempts, %d retries, %d failed attempts, %d refused, %d without an answer\n",
		q.Operations, q.Attempts, q.Retries, q.Failed, q.Refused, q.Unanswered)
	if len(q.Failures) > 0 {
		fmt.Fprintf(w, "  Failed attempts: %s\n", counts(q.Failures))
	}
	fmt.Fprintf(w, "  From request to the order's end: %s\n", r.PlacedToEnd)
	if r.Where == "" {
		fmt.Fprintf(w, "  After the last fault: %s\n", r.AfterLastFault)
	}
	if len(r.Numbers) > 0 {
		for _, name := range slices.Sorted(maps.Keys(r.Numbers)) {
			fmt.Fprintf(w, "  %s: %v\n", name, round(r.Numbers[name]))
		}
	}
	for i, v := range r.Violations {
		if i == mostViolations {
			fmt.Fprintf(w, "  … and %d more violations\n", len(r.Violations)-i)
			break
		}
		fmt.Fprintf(w, "  VIOLATION %s\n", v)
	}
	if !r.Passed {
		fmt.Fprintf(w, "  Again: %s\n", r.Command)
	}
	fmt.Fprintln(w, r.Line())
}

func (r *Report) faultsText(w io.Writer) {
	if len(r.Faults) == 0 {
		return
	}
	kinds, failed := make(map[string]int), 0
	for _, f := range r.Faults {
		kinds[string(f.Kind)]++
		if f.Error != "" {
			failed++
		}
	}
	fmt.Fprintf(w, "  Faults: %s; %d could not be brought about or healed\n", counts(kinds), failed)
	for _, f := range r.Faults {
		if f.Error != "" {
			fmt.Fprintf(w, "    %s: %s\n", f.Label, strings.TrimSpace(f.Error))
		}
	}
	if len(r.Kills) > 0 {
		fmt.Fprintf(w, "  kill -9: %d: %s\n  Ready again after a kill: %s\n", r.killed(), counts(r.Kills), r.ReadyAgain)
	}
}

func counts(of map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, of[name]))
	}
	return strings.Join(parts, ", ")
}

// Write writes the report as JSON.
func (r *Report) Write(path string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := os.WriteFile(path, append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
