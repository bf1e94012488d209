// Package audit is the form in which services report on their invariants: page by page, with what was found, and with
// how often each invariant was checked, so that an audit which looked at nothing does not pass for a good one.
package audit

import "fmt"

// Request asks a service for one page of its audit; an empty cursor starts it.
type Request struct {
	Cursor string `json:"cursor,omitzero"`
}

// Finding is one violated invariant. It holds no personal data.
type Finding struct {
	// Invariant is the name of what should hold.
	Invariant string `json:"invariant"`
	// Key is the document, order or event at which it does not.
	Key string `json:"key"`
	// Detail says what was found there.
	Detail string `json:"detail"`
}

// Results gathers checks and what they find. The zero value is empty and ready for use; it is not safe for concurrent
// use.
type Results struct {
	Findings []Finding `json:"findings"`
	// Checked counts the checks by invariant, whatever they found.
	Checked map[string]int64 `json:"checked"`
}

// Check counts one check of an invariant and notes a finding if it does not hold. It returns whether it holds.
func (r *Results) Check(holds bool, invariant, key, format string, args ...any) bool {
	r.Count(invariant, 1)
	if !holds {
		r.Findings = append(r.Findings, Finding{Invariant: invariant, Key: key, Detail: fmt.Sprintf(format, args...)})
	}
	return holds
}

// Count counts checks that found nothing. Counting none makes the invariant known, so that it shows that it was never
// checked.
func (r *Results) Count(invariant string, checks int64) {
	if r.Checked == nil {
		r.Checked = make(map[string]int64)
	}
	r.Checked[invariant] += checks
}

// Add takes over the results of others.
func (r *Results) Add(o Results) {
	r.Findings = append(r.Findings, o.Findings...)
	for invariant, checks := range o.Checked {
		r.Count(invariant, checks)
	}
}

// Page is one part of a service's audit.
type Page struct {
	Results
	// Counts are quantities met on this page, such as accounts or units, by name; those of all pages are added up.
	Counts map[string]int64 `json:"counts"`
	// Next is where to go on; it is empty on the last page.
	Next string `json:"next,omitempty"`
}

// NewPage makes an empty page that knows the given invariants.
func NewPage(invariants ...string) Page {
	p := Page{Results: Results{Findings: []Finding{}, Checked: make(map[string]int64)}, Counts: make(map[string]int64)}
	for _, invariant := range invariants {
		p.Count(invariant, 0)
	}
	return p
}

// Common gives the page itself, for code that walks the pages of several services, whose own types embed it.
func (p *Page) Common() *Page { return p }
