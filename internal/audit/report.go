package audit

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// MaxFindings bounds the findings of a Report.
const MaxFindings = 1000

// Report is the result of an audit of several services, or what is known while it is under way.
type Report struct {
	// Findings are the first MaxFindings; Invariants count them all.
	Findings []ServiceFinding `json:"findings"`
	// Invariants are all there are, by service and name. One that was checked 0 times was not proven by this audit.
	Invariants []Tally          `json:"invariants"`
	Counts     map[string]int64 `json:"counts"`
	Complete   bool             `json:"complete"`
	StartedAt  time.Time        `json:"startedAt"`
}

// ServiceFinding is a finding with the service that reported it.
type ServiceFinding struct {
	Service string `json:"service"`
	Finding
}

// Tally says how often an invariant was checked and how often it did not hold.
type Tally struct {
	Service   string `json:"service"`
	Invariant string `json:"invariant"`
	Checked   int64  `json:"checked"`
	Violated  int64  `json:"violated"`
}

// Unfinished is the report of an audit that is under way.
func Unfinished(startedAt time.Time) Report {
	return Report{Findings: []ServiceFinding{}, Invariants: []Tally{}, Counts: map[string]int64{}, StartedAt: startedAt}
}

// Tally returns the tally of an invariant. It is zero if the report does not know the invariant.
func (r Report) Tally(service, invariant string) Tally {
	for _, t := range r.Invariants {
		if t.Service == service && t.Invariant == invariant {
			return t
		}
	}
	return Tally{}
}

// Collector collects the results of several services. It is safe for concurrent use.
type Collector struct {
	mu       sync.Mutex
	findings []ServiceFinding
	tallies  map[[2]string]*Tally
	counts   map[string]int64
}

// NewCollector makes an empty Collector.
func NewCollector() *Collector {
	return &Collector{tallies: make(map[[2]string]*Tally), counts: make(map[string]int64)}
}

// Add adds results of a service.
func (c *Collector) Add(service string, results Results) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for invariant, checks := range results.Checked {
		c.tally(service, invariant).Checked += checks
	}
	for _, f := range results.Findings {
		c.tally(service, f.Invariant).Violated++
		if len(c.findings) < MaxFindings {
			c.findings = append(c.findings, ServiceFinding{Service: service, Finding: f})
		}
	}
}

func (c *Collector) tally(service, invariant string) *Tally {
	key := [2]string{service, invariant}
	if c.tallies[key] == nil {
		c.tallies[key] = &Tally{Service: service, Invariant: invariant}
	}
	return c.tallies[key]
}

// AddPage adds a page of a service. Its counts get the name of the service in front: orders.confirmed.
func (c *Collector) AddPage(service string, p *Page) {
	c.Add(service, p.Results)
	for name, n := range p.Counts {
		c.Count(service+"."+name, n)
	}
}

// Count adds to a count of the report.
func (c *Collector) Count(name string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[name] += n
}

// Counted returns a count.
func (c *Collector) Counted(name string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[name]
}

// Report returns the complete report, sorted. The collector is not used afterwards.
func (c *Collector) Report(startedAt time.Time) Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Report{Findings: append([]ServiceFinding{}, c.findings...), Invariants: []Tally{}, Counts: c.counts, Complete: true, StartedAt: startedAt}
	for _, t := range c.tallies {
		r.Invariants = append(r.Invariants, *t)
	}
	slices.SortFunc(r.Invariants, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Invariant, b.Invariant))
	})
	slices.SortFunc(r.Findings, func(a, b ServiceFinding) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Invariant, b.Invariant), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Detail, b.Detail))
	})
	return r
}
