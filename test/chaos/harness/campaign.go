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
	// complete fills in the sizes that were not given.
	complete func(Options) Options
	// plan is the schedule's; nil when faults come with the work itself.
	plan func(Options) Plan
	run  func(ctx context.Context, r *run) error
	// replicas of every program that the campaign is about.
	replicas int
}

func campaigns() []campaign {
	return []campaign{storm(), confirms(), broker(), flash(), keys(), rolling(), soak(), outages()}
}

// Campaigns are the names of the campaigns with what each does.
func Campaigns() (names []string, summaries map[string]string) {
	summaries = make(map[string]string)
	for _, c := range campaigns() {
		names = append(names, c.name)
		summaries[c.name] = c.summary
	}
	return names, summaries
}

// Replicas is how many of every program a campaign wants.
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

// Preview is the schedule that a run of these options on a stack of these
// targets follows.
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

// or is the first value that is not zero.
func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// common fills in what every campaign has.
func common(o Options) Options {
	o.Customers = or(o.Customers, 16)
	o.Deadline = or(o.Deadline, 5*time.Minute)
	o.Minutes = or(o.Minutes, 2)
	return o
}
