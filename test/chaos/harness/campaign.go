package harness

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// campaign is one kind of run.
type campaign struct {
	name, summary string
	// complete sets the sizes that were not given.
	complete func(Options) Options
	// plan makes the plan of the schedule. It is nil if the work itself causes the faults.
	plan func(Options) Plan
	run  func(ctx context.Context, r *run) error
	// replicas is how many replicas of every program the campaign needs.
	replicas int
}

func campaigns() []campaign {
	return []campaign{storm(), confirms(), broker(), flash(), keys(), rolling(), soak(), outages()}
}

// Campaigns returns the names of the campaigns and what each does.
func Campaigns() (names []string, summaries map[string]string) {
	summaries = make(map[string]string)
	for _, c := range campaigns() {
		names = append(names, c.name)
		summaries[c.name] = c.summary
	}
	return names, summaries
}

// Replicas is how many replicas of every program a campaign needs.
func Replicas(name string) int {
	c, err := campaignOf(name)
	if err != nil {
		return 1
	}
	return max(1, c.replicas)
}

func campaignOf(name string) (campaign, error) {
	var names []string
	for _, c := range campaigns() {
		if c.name == name {
			return c, nil
		}
		names = append(names, c.name)
	}
	return campaign{}, fmt.Errorf("no campaign is called %q; there are %s", name, strings.Join(names, ", "))
}

// Preview returns the schedule of a run with these options on a stack with these targets.
func Preview(o Options, targets Targets) ([]Event, error) {
	c, err := campaignOf(o.Campaign)
	if err != nil {
		return nil, err
	}
	if c.plan == nil {
		return nil, nil
	}
	o = c.complete(o)
	plan := c.plan(o)
	plan.Seed, plan.Targets = o.Seed, targets
	return plan.Schedule(), nil
}

// or returns the first value that is not zero.
func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// common sets the options that every campaign has.
func common(o Options) Options {
	o.Customers = or(o.Customers, 16)
	o.Deadline = or(o.Deadline, 5*time.Minute)
	o.Minutes = or(o.Minutes, 2)
	return o
}
