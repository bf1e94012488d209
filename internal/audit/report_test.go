package audit_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"caravan/internal/audit"
)

func TestAReportIsSortedAndCounted(t *testing.T) {
	c := audit.NewCollector()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			page := audit.NewPage("never")
			page.Counts["units"] = 2
			page.Check(i%2 == 0, "held", fmt.Sprint("k", i), "d")
			c.AddPage(fmt.Sprint("s", i/2), &page)
		})
	}
	all.Wait()
	if n := c.Counted("s1.units"); n != 4 {
		t.Errorf("s1 has %d units", n)
	}
	report := c.Report(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	encoded, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"findings":[{"service":"s0","invariant":"held","key":"k1","detail":"d"},{"service":"s1","invariant":"held","key":"k3","detail":"d"}],` +
		`"invariants":[{"service":"s0","invariant":"held","checked":2,"violated":1},{"service":"s0","invariant":"never","checked":0,"violated":0},` +
		`{"service":"s1","invariant":"held","checked":2,"violated":1},{"service":"s1","invariant":"never","checked":0,"violated":0}],` +
		`"counts":{"s0.units":4,"s1.units":4},"complete":true,"startedAt":"2026-03-01T12:00:00Z"}`
	if string(encoded) != want {
		t.Errorf("the report is %s; want %s", encoded, want)
	}
	if report.Tally("s0", "held").Violated != 1 || report.Tally("s0", "unknown") != (audit.Tally{}) {
		t.Errorf("tallies are %+v", report.Invariants)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	c := audit.NewCollector()
	var results audit.Results
	for i := range 2 * audit.MaxFindings {
		results.Check(false, "held", fmt.Sprint(i), "d")
	}
	c.Add("s", results)
	if r := c.Report(time.Time{}); len(r.Findings) != audit.MaxFindings || r.Tally("s", "held").Violated != 2*audit.MaxFindings {
		t.Errorf("%d findings, tally %+v", len(r.Findings), r.Invariants)
	}
}
